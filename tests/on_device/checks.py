"""What is run on a device: every row of the papers' tables, and every knob that depends on the device."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import torch

from recsys_lora.config.paths import options
from recsys_lora.utils.errors import UserError
from tests.jobs import SMALL_TASKS
from tests.on_device.kill import Resumed
from tests.on_device.place import CheckError, Place, SkipError, near, placed, refused

Check = Callable[[Place], str]
"""Runs something and returns what is worth saying of it; raises `SkipError`, or whatever went wrong."""

TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1, "float16": 1e-2}
"""Of a score in a dtype against the CPU's in float32, as a share of the largest score.

A unit in the last place is 1.2e-7, 7.8e-3 and 9.8e-4 of a number; scores are differences of two logits, and each goes
through all blocks. For float32 the room is for other orders of summation, and for TensorFloat-32 where that is on. On
a CPU the tiny backbone's scores are 7.5e-3 (bfloat16) and 9.7e-4 (float16) apart.
"""
CHECKPOINTED = {"cpu": 1e-5, "cuda": 1e-3}
"""Of a score trained with states computed twice against one trained with states kept, in float32, dropout off.

Some CUDA kernels add in another order each time, and every step starts from the one before.
"""
COMPILED = 1e-3
"""Of a score trained and scored by compiled blocks, whose fused loops round elsewhere."""
KILLED = "killed and resumed"
FLOAT32 = "llm.dtype=float32"
PLAIN = ("model.dropout=0", "model.generator.dropout=0", FLOAT32)


def every_check(resumed: Resumed) -> dict[str, Check]:
    """Return the checks by name, in their order; the processes of `resumed` run beside the others."""
    checks: dict[str, Check] = {f"row={row}": partial(_row, row=row) for row in options("row")}
    checks["ckf, all tasks"] = _all_tasks
    for dtype in TOLERANCES:
        checks[dtype] = partial(_dtype, dtype=dtype)
    for dtype in TOLERANCES:
        checks[f"{dtype} against the CPU's float32"] = partial(_against_cpu, dtype=dtype)
    checks["llm.gradient_checkpointing"] = _gradient_checkpointing
    for kind in ("none", "int8", "nf4"):
        checks[f"llm.quantise={kind}"] = partial(_quantised, kind=kind)
    checks["trainer=fsdp on one device"] = _fsdp_on_one_device
    checks[KILLED] = resumed.check
    checks["pytest -m gpu"] = _marked_tests
    checks["llm.compiled"] = _compiled  # last: on a busy CPU its compiler takes minutes
    return checks


def _row(place: Place, row: str) -> str:
    outcome = place.run(row, f"row={row}")
    place.scores(row)
    return placed(outcome, place.device)


def _all_tasks(place: Place) -> str:
    few = ("task.topk.candidates=4", "task.topk.cutoffs=[1,3]", "task.explanation.answer_tokens=6")
    tasks = place.run("ckf", *few, settings=SMALL_TASKS).metrics["tasks"]
    if len(tasks) != len(options("task")):
        raise CheckError(f"only {', '.join(tasks)}")
    return ", ".join(tasks)


def _dtype(place: Place, dtype: str) -> str:
    outcome = place.cora(dtype, f"llm.dtype={dtype}")
    place.scores(dtype)
    found = str(outcome.method.module.backbone.dtype).removeprefix("torch.")
    if found != dtype:
        raise CheckError(f"the backbone is in {found}")
    return placed(outcome, place.device)


def _against_cpu(place: Place, dtype: str) -> str:
    """One trained method, scored by the CPU in float32 and by the device in `dtype`, each by itself."""
    if (place.device, dtype) == ("cpu", "float32"):
        raise SkipError("there is no GPU: the CPU's own scores are what it is compared with")
    if not (place.folder / "reference").is_dir():
        place.cora("reference", FLOAT32, device="cpu")
    checkpoint = place.folder / "reference" / "checkpoints" / "last.ckpt"
    again = ("train=false", f"ckpt_path={checkpoint}")
    for name, device, kept in (("cpu_float32", "cpu", "float32"), (f"own_{dtype}", None, dtype)):
        if not (place.folder / name).is_dir():
            place.cora(name, *again, f"llm.dtype={kept}", device=device)
    return near(place.scores(f"own_{dtype}"), place.scores("cpu_float32"), TOLERANCES[dtype])


def _kept(place: Place) -> torch.Tensor:
    """Return scores of a CoRA without dropout, trained with its states kept and its blocks as they are."""
    if not (place.folder / "plain_cora").is_dir():
        place.cora("plain_cora", *PLAIN)
    return place.scores("plain_cora")


def _gradient_checkpointing(place: Place) -> str:
    expected = _kept(place)
    place.cora("checkpointed", *PLAIN, "llm.gradient_checkpointing=true")
    return near(place.scores("checkpointed"), expected, CHECKPOINTED[place.device])


def _compiled(place: Place) -> str:
    if place.device == "cpu" and shutil.which("g++") is None:
        raise SkipError("there is no C++ compiler here")
    expected = _kept(place)
    place.cora("compiled", *PLAIN, "llm.compiled=true")
    return near(place.scores("compiled"), expected, COMPILED)


def _quantised(place: Place, kind: str) -> str:
    if kind != "none" and importlib.util.find_spec("bitsandbytes") is None:
        raise SkipError("bitsandbytes is not installed")
    outcome = place.cora(f"quantised_{kind}", f"llm.quantise={kind}")
    place.scores(f"quantised_{kind}")
    return placed(outcome, place.device)


def _fsdp_on_one_device(place: Place) -> str:
    """One device holds the whole backbone either way, so that sharding it would only cost: it is refused."""
    accelerator = "cpu" if place.device == "cpu" else "gpu"
    one = ("trainer=fsdp", f"trainer.accelerator={accelerator}", "trainer.devices=1")
    try:
        place.cora("fsdp", *one)
    except UserError as error:
        return refused(error, "one device has nothing to spread", "trainer=gpu")
    raise CheckError("not refused")


def _marked_tests(place: Place) -> str:
    """The tests that need a GPU."""
    if importlib.util.find_spec("pytest") is None:
        raise SkipError("pytest is not installed")
    if place.device == "cpu":
        raise SkipError("there is no GPU")
    files = ("tests/llm/test_quantised.py", "tests/pipeline/test_sharded.py")
    line = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-rs", *files]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
    if done.returncode:
        raise CheckError(last)
    return last
