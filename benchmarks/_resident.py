"""Memory of this process as reported by Linux; needs only the standard library."""

from collections.abc import Callable
from pathlib import Path

MIB = 2**20


def restart_peak() -> None:
    """Reset the peak."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_mib(field: str) -> float:
    """Return resident memory in MiB: `VmRSS`, the current value, or `VmHWM`, the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / MIB


def growth_mib(step: Callable[[], object], measured: bool = True) -> float | None:
    """Run a step and return the peak growth of the process in MiB; None if `measured` is false."""
    if not measured:
        step()
        return None
    restart_peak()
    before = resident_mib("VmRSS")
    step()
    return resident_mib("VmHWM") - before
