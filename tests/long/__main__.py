"""`python -m tests.long`: all of it; `--share 0.1` a tenth, `fuzz kills ...` some of it. Status 1: something broke.

Every part prints a table of counts and, below it, whatever broke. It has a process of its own, as `odd` forks, which a
process may not in which polars has computed: its threads would be missing in the other.
"""

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.long.counts import Counts

PARTS = ("fuzz", "odd", "kills", "soak", "faults")


def main() -> None:
    """Run the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.long", description=__doc__)
    made.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="all by default")
    made.add_argument("--share", type=float, default=1.0, help="of the tries of each part (1)")
    made.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    asked = made.parse_args()
    if len(asked.parts) == 1:
        sys.exit(1 if run(asked.parts[0], asked.share, asked.seed) else 0)
    command = [sys.executable, "-m", "tests.long", f"--share={asked.share}", f"--seed={asked.seed}"]
    ended = [subprocess.run([*command, name], check=False).returncode for name in asked.parts or PARTS]
    sys.exit(1 if any(ended) else 0)


def run(name: str, share: float, seed: int) -> int:
    """Run one part; returns how many tries broke."""
    counts, begun = Counts(name), time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"recsys-lora-{name}-") as place:
        importlib.import_module(f"tests.long.{name}").run(Path(place), share, seed, counts)
    return counts.tell(time.monotonic() - begun)


if __name__ == "__main__":
    main()
