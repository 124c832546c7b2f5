"""Memory of this process as Linux counts it: needs the standard library alone."""

from collections.abc import Callable
from pathlib import Path

MIB = 2**20


def restart_peak() -> None:
    """Reset the peak."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_mib(field: str) -> float:
    """Return `VmRSS`, what is resident now, or `VmHWM`, the most that was."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / MIB


def growth_mib(step: Callable[[], object], measured: bool = True) -> float | None:
    """Run a step; return by how much the process grew at most, None where that is not to be measured."""
    if not measured:
        step()
        return None
    restart_peak()
    before = resident_mib("VmRSS")
    step()
    return resident_mib("VmHWM") - before
