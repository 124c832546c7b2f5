"""A run as a process that is killed while it trains, and started again: beside the other checks, in a thread."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.jobs import SMALL
from tests.on_device.place import CheckError, Place, near

LONG = ("data.train_rows=48", "trainer.max_epochs=12", "callbacks.stop_early.patience=100", "llm.dtype=float32")
TOLERANCES = {"cpu": 0.0, "cuda": 1e-2}
"""Of the scores against those of a run that nobody killed; some CUDA kernels add in another order each time."""
PATIENCE = 200


class Resumed:
    """Kills a run and resumes it, and runs the same without that, in a thread of its own; a context ends all of it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lines: dict[str, list[str]] = {}
        self.pool = ThreadPoolExecutor(1)
        self.said: Future[int] | None = None
        self.running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Resumed":
        return self

    def __exit__(self, *reason: object) -> None:
        self.lines.clear()  # nothing more is started
        if self.running is not None:
            self.running.kill()
        self.pool.shutdown()

    def begin(self) -> None:
        """Start the first process."""
        line = self.place.overrides("row=cora_mf", *LONG, settings=SMALL)  # makes what it names, outside of the thread
        self.lines |= {name: [*line, f"hydra.run.dir={self.place.folder / name}"] for name in ("whole", "killed")}
        self.said = self.pool.submit(self._work)

    def check(self, place: Place) -> str:
        """Wait for the processes; returns how near the scores are."""
        assert self.said is not None
        step = self.said.result()
        return f"from step {step}; " + near(place.scores("killed"), place.scores("whole"), TOLERANCES[place.device])

    def _work(self) -> int:
        """Return the step from which the killed run went on."""
        self._finish("whole", self._start("whole"))
        process, last = self._start("killed"), self.place.folder / "killed" / "checkpoints" / "last.ckpt"
        try:
            give_up = time.monotonic() + PATIENCE
            while not last.is_file():
                if process.poll() is not None or time.monotonic() > give_up:
                    raise CheckError(f"no checkpoint to kill it at: {self._output('killed')[-300:]}")
                time.sleep(0.002)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._finish("killed", self._start("killed"))
        found = re.search(r"training goes on from step (\d+)", self._output("killed"))
        if found is None:
            raise CheckError("started again, it did not go on from its checkpoint")
        return int(found.group(1))

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        home = self.place.folder / f"home_of_{name}"  # or it would find what the other one has trained
        home.mkdir(exist_ok=True)
        for fetched in (self.place.folder / "home").iterdir():
            if fetched.is_symlink() and not (home / fetched.name).exists():
                (home / fetched.name).symlink_to(fetched.resolve())
        line = [sys.executable, "-m", "recsys_lora.run", *self.lines[name], "hydra.job_logging.root.level=INFO"]
        with self._log(name).open("ab") as log:
            self.running = subprocess.Popen(
                line, env={**os.environ, "RECSYS_LORA_HOME": str(home)}, stdout=log, stderr=subprocess.STDOUT
            )
        return self.running

    def _finish(self, name: str, process: subprocess.Popen[bytes]) -> None:
        try:
            if process.wait(timeout=PATIENCE):
                raise CheckError(f"ended with {process.returncode}: {self._output(name)[-300:]}")
        finally:
            process.kill()
            process.wait()

    def _log(self, name: str) -> Path:
        return self.place.folder / f"{name}.txt"

    def _output(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")
