"""Odd command lines and damaged run folders: each is taken, or refused in one line, and soon."""

import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.jobs import SMALL, own_tables, write_tables
from tests.long.counts import Counts

SECONDS = 120
VALUES = ("null", "-1", "0", "1.5", "abc", "[]", "[1]", "''", "nan", "1e400", "true", "${nope}", "~/x", "../../x")
KEYS = (
    *("seed", "tasks", "tags", "name", "group", "resume", "ckpt_path", "train", "stage.force"),
    *("paths.runs", "hydra.run.dir", "first", "experiment", ""),
    *("data.name", "data.interactions", "data.items", "data.train_rows", "data.valid_rows", "data.test_rows"),
    *("data.positive", "data.rating_scale.step", "data.min_user_rows", "data.wording", "data.split", "data/split"),
    *("cf.encoder", "cf.encoder.dim", "cf.trainer.max_epochs", "cf.trainer.val_check_interval", "cf.train_share"),
    *("model.rank", "model.batch_size", "model.dropout", "model.optimizer", "model.optimizer.lr", "model.generator"),
    *("model.prompt", "model.prompt.text", "model._target_", "llm.layers", "llm.dtype", "mixing.temperature"),
    *("trainer.devices", "trainer.accelerator", "trainer.strategy", "trainer.precision", "trainer.max_steps"),
    *("trainer.val_check_interval", "trainer.accumulate_grad_batches", "trainer.check_val_every_n_epoch"),
    *("trainer.limit_train_batches", "trainer.limit_val_batches", "trainer.profiler", "trainer.num_nodes"),
    *("callbacks.checkpoint", "callbacks.checkpoint.monitor", "callbacks.stop_early.monitor", "evaluation.draws"),
    *("model", "data", "cf", "llm", "trainer", "logger", "callbacks", "budget", "task"),
)
RECORDS = (
    *("config.yaml", "artifacts.json", "metrics.json", "environment.json", "status.json", "predictions_ctr.parquet"),
)
VERBS = ("compare", "report", "runs", "recommend", "export")


def run(place: Path, share: float, seed: int, counts: Counts) -> None:
    """Try every key with every so many-th value, and every damage of every record with every verb."""
    tables = [f"data.interactions={place}/tables/ratings.csv", f"data.items={place}/tables/items.csv"]
    (place / "where" / "it" / "works").mkdir(parents=True)
    os.environ["RECSYS_LORA_HOME"] = str(place / "home")
    if not os.fork():  # torch and polars may start no thread in the process that forks
        write_tables(place / "tables", *own_tables())
        command(place, "run", [*SMALL, *tables, f"hydra.run.dir={place}/good"], place / "said.txt")
    if os.wait()[1]:
        raise RuntimeError(f"the run to damage: {(place / 'said.txt').read_text()[-500:]}")
    for verb in ("run", *VERBS):
        importlib.import_module(f"recsys_lora.cli.{verb}")
    importlib.import_module("recsys_lora.pipeline.loading")
    step = max(1, round(1 / share))
    for number, (key, value) in enumerate((key, value) for key in KEYS for value in VALUES):
        if number % step == seed % step:
            tried("odd values", place, "run", [*SMALL, *tables, f"{key}={value}"], counts)
    for number, (what, damage, verb) in enumerate(damages(place)):
        if number % step == seed % step:
            folder = place / "damaged"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(place / "good", folder)
            damage(folder / what)
            tried(f"damaged {what}", place, verb, arguments(verb, folder, place), counts)


def damages(place: Path) -> Iterator[tuple[str, Callable[[Path], object], str]]:
    """Yield a record of a run, what damages it, and the verb that then meets it."""
    kinds: list[Callable[[Path], object]] = [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"[]"),
        lambda path: path.write_bytes(b"\x00\xff\xfe" * 50),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), path.symlink_to(path)),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ]
    yield from ((what, damage, verb) for what in RECORDS for damage in kinds for verb in VERBS)
    record = json.loads((place / "good" / "artifacts.json").read_text())
    for key in record:
        for value in (None, "", "../../../etc", "/etc/passwd", 5):
            text = json.dumps({**record, key: value})
            yield "artifacts.json", lambda path, text=text: path.write_text(text), "recommend"


def arguments(verb: str, folder: Path, place: Path) -> list[str]:
    """Return what a verb is given about a run's folder."""
    if verb in ("recommend", "export"):
        more = [f"out={place / 'out.csv'}", "k=2"] if verb == "recommend" else ["to=vectors", f"out={place / 'out'}"]
        return [f"run={folder}", *more]
    return [str(folder), *(["--out", str(place / "page.html")] if verb == "report" else [])]


def tried(kind: str, place: Path, verb: str, line: Sequence[str], counts: Counts) -> None:
    """Run a command in a process of its own, and judge how it ended."""
    said, begun = place / "said.txt", time.monotonic()
    child = os.fork()
    if not child:
        command(place, verb, line, said)
    status = None
    while status is None and time.monotonic() - begun < SECONDS:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
        time.sleep(0.01)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    text = said.read_text(errors="replace")
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    if status == 0:
        counts.add(kind, "taken")
    elif status == 2 and len(lines) == 1 and "Traceback" not in text:
        counts.add(kind, "refused in one line")
    else:
        counts.broke(kind, f"{verb} {line[-1]}: {'hangs' if status is None else status}: {text[-300:]}")


def command(place: Path, verb: str, line: Sequence[str], said: Path) -> None:
    """Be the command line's process; never returns."""
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(place / "where" / "it" / "works")  # from where ../.. does not lead out of the place
    sys.argv, status = [verb, *line], 0
    try:
        importlib.import_module(f"recsys_lora.cli.{verb}").main()
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 0
    except BaseException:
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
