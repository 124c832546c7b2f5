"""While a job's processes are waited for, deaths and signals are answered."""

import signal
import subprocess
import sys
import time

import pytest

from recsys_lora.processes.group import process_group
from recsys_lora.processes.watch import POLL_SECONDS, watched
from recsys_lora.utils.errors import UserError

TRAINER = {"accelerator": "cpu", "devices": 2, "num_nodes": 1}
SECONDS = 60
"""More than a start of Python takes on a busy machine, less than any patience."""

WAITS = """
import sys
from pathlib import Path
from recsys_lora.processes.group import process_group
from recsys_lora.processes.signals import stopping
with stopping(), process_group({"accelerator": "cpu", "devices": 2, "num_nodes": 1}, Path(sys.argv[1]), "sleeps"):
    pass
"""


def test_a_process_that_dies_before_it_is_met_ends_the_job_with_a_line(tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text("import sys\nsys.exit('killed by hand')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"process 1 of the job failed \(killed by hand\): see .*log\.txt"):  # noqa: SIM117
        with process_group(TRAINER, tmp_path, "dies"):
            pytest.fail("nobody was met")
    assert time.monotonic() - begun < SECONDS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting_and_the_others(tmp_path, monkeypatch, number):
    (tmp_path / "sleeps.py").write_text(
        "import os, sys, time\nfrom pathlib import Path\n"
        "Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    first = subprocess.Popen([sys.executable, "-c", WAITS, str(tmp_path)], stderr=-1, text=True)
    try:
        give_up = time.monotonic() + 2 * SECONDS
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
            assert first.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.1)
        time.sleep(1)
        first.send_signal(number)
        _, said = first.communicate(timeout=SECONDS)
    finally:
        first.kill()
    assert f"Stopped: {number.name}" in said
    pid = (tmp_path / "pid").read_text()
    assert subprocess.run(["kill", "-0", pid], capture_output=True, check=False).returncode


def busy(seconds: float, ends: Exception | None = None) -> None:
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        time.sleep(0.1)
    if ends is not None:
        raise ends


def test_a_process_that_dies_while_the_first_is_busy_alone_ends_the_job_with_a_line(tmp_path, monkeypatch):
    (tmp_path / "meets.py").write_text(
        "import os, sys\nfrom pathlib import Path\nfrom recsys_lora.processes.group import arrive, joined\n"
        "from recsys_lora.processes.rendezvous import VARIABLES\n"
        "arrive(Path(sys.argv[1]))\n"
        "with joined({name: os.environ[name] for name in VARIABLES}):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    handler = signal.getsignal(signal.SIGCHLD)
    begun = time.monotonic()
    with (
        pytest.raises(UserError, match=r"^process 1 of the job was ended by SIGKILL, as .* memory runs out: see .*log"),
        process_group(TRAINER, tmp_path, "meets"),
    ):
        busy(2 * SECONDS)
    assert time.monotonic() - begun < SECONDS
    assert signal.getsignal(signal.SIGCHLD) is handler


def test_what_ends_the_first_meanwhile_says_more():
    with pytest.raises(UserError, match=r"^it is full$"), watched(lambda: "process 1 of the job failed"):
        busy(2 * POLL_SECONDS, UserError("it is full"))
