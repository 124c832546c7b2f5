"""Shared code of the benchmarks: options, timing in turn, checks of equality, peak memory. Tables: `_table.py`.

Steps to compare run in turn in one process, every second round in reverse order, so that no case always follows the
same other one. A ratio is the median over rounds of the ratio of two times in the same round, so that a slow moment of
the machine affects both.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from _table import Aim, Row

# Read when torch is imported: otherwise its profiler, which counts memory here, logs every start and stop.
os.environ.setdefault("KINETO_LOG_LEVEL", "9")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

Step = Callable[[], Any]
MIB = 2**20
OURS = "this package"
"""Name of this package's own case in tables."""


def parser(text: str | None, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options common to all benchmarks.

    Args:
        text: docstring of the script.
        rounds: default number of rounds.
    """
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--device", default="cpu")
    made.add_argument("--threads", type=int, default=None, help="CPU threads; left out: all cores")
    made.add_argument("--rounds", type=_rounds, default=rounds, help="timed steps of each case, 2 or more")
    made.add_argument("--clock", default="wall", choices=("wall", "cpu"), help="cpu: processor time, for busy machines")
    made.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    made.add_argument("--json", type=Path, help="write the results there too")
    return made


def _rounds(text: str) -> int:
    if (number := int(text)) < 2:
        raise argparse.ArgumentTypeError("quartiles need 2 rounds or more")
    return number


def use_threads(options: argparse.Namespace) -> None:
    """Set the number of torch threads, if one is given."""
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)


def same(ours: Any, theirs: Any, tolerance: float, what: str, size: float | None = None, whole: bool = False) -> None:
    """Exit if two tensors (or arrays) differ by more than a fraction of the largest entry.

    Args:
        ours: this package's values.
        theirs: the other side's values, of the same shape.
        tolerance: maximum difference, relative to `size`.
        what: what is compared, for the message.
        size: size of the numbers that were rounded; None takes the largest absolute entry of `theirs`.
        whole: compare by Euclidean distance and norm, for values of which single ones may be far off.
    """
    import torch

    ours, theirs = torch.as_tensor(ours).detach().double().cpu(), torch.as_tensor(theirs).detach().double().cpu()
    if ours.shape != theirs.shape:
        sys.exit(f"{what}: shapes {tuple(ours.shape)} and {tuple(theirs.shape)}: nothing to compare")
    order = 2 if whole else torch.inf
    difference = float(torch.linalg.vector_norm(ours - theirs, order))
    size = float(torch.linalg.vector_norm(theirs, order)) if size is None else size
    if not difference <= tolerance * size or not size > 0:
        sys.exit(f"{what}: the two sides differ by {difference:.3g} of {size:.3g}: nothing to compare")


def seconds(step: Step, options: argparse.Namespace) -> float:
    """Time one step, in seconds."""
    wait = _waiting(options)
    clock = time.perf_counter if options.clock == "wall" else _processor_seconds
    wait()
    start = clock()
    step()
    wait()
    return clock() - start


def _waiting(options: argparse.Namespace) -> Step:
    """Return a function that waits until the device has finished its work."""
    if not options.device.startswith("cuda"):
        return lambda: None
    import torch

    return torch.cuda.synchronize


def _processor_seconds() -> float:
    """Return the processor time of this process and its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def in_a_process(code: str, *arguments: Path) -> dict[str, Any]:
    """Run code in a new process; return the JSON of its last line of output, and the seconds it took."""
    begun, before = time.perf_counter(), _processor_seconds()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    took = {"seconds": time.perf_counter() - begun, "processor_seconds": _processor_seconds() - before}
    return took | json.loads(answer.stdout.splitlines()[-1])


def in_turn(steps: Mapping[str, Step], options: argparse.Namespace) -> dict[str, list[float]]:
    """Time all steps round by round, after one uncounted round; return milliseconds by case."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {case: [] for case in steps}
    for number in range(options.rounds):
        for case in list(steps) if number % 2 == 0 else list(reversed(steps)):
            times[case].append(1000 * seconds(steps[case], options))
    return times


def compared(
    times: Mapping[str, Sequence[float]],
    reference: str,
    aims: Mapping[str, Aim] | None = None,
    scale: Mapping[str, float] | None = None,
    point: str = "",
) -> list[Row]:
    """Return a row per case, with its time relative to the reference's in the same round.

    Args:
        times: times of each case in milliseconds, round by round.
        reference: the case that all are compared with.
        aims: targets of the cases that have one.
        scale: factors for the times of cases that did only part of the work.
        point: see `Row`.
    """
    factors = scale or {}
    whole = {case: [taken * factors.get(case, 1.0) for taken in own] for case, own in times.items()}
    rows = []
    for case, own in whole.items():
        low, middle, high = statistics.quantiles(own, n=4)
        ratio_low, ratio, ratio_high = statistics.quantiles(
            [a / b for a, b in zip(own, whole[reference], strict=True)], n=4
        )
        aim = (aims or {}).get(case)
        rows.append(Row(case, middle, low, high, ratio, ratio_low, ratio_high, point, reference, aim))
    return rows


def with_peaks(rows: Sequence[Row], steps: Mapping[str, Step], options: argparse.Namespace) -> list[Row]:
    """Return the rows with the peak memory of their cases' steps, unless it is switched off."""
    if options.no_memory:
        return list(rows)
    return [replace(row, peak_mib=peak_mib(steps[row.case], options)) for row in rows]


def peak_mib(step: Step, options: argparse.Namespace) -> float:
    """Return the peak memory in MiB of the tensors made in a step, in addition to what was there before.

    On a CPU, every allocation and release is counted, so the number is exact and the same on every run; it excludes
    scratch memory of the libraries below torch.
    """
    import torch

    if options.device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    changes = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak / MIB
