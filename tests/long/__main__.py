"""`python -m tests.long`: all of it; `--share 0.1` a tenth, `fuzz kills ...` some of it. Status 1: something broke.

Every part prints a table of counts and, below it, whatever broke.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.long import faults, fuzz, kills, odd, soak
from tests.long.counts import Counts

PARTS = {"fuzz": fuzz.run, "odd": odd.run, "kills": kills.run, "soak": soak.run, "faults": faults.run}


def main() -> None:
    """Run the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.long", description=__doc__)
    made.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="all by default")
    made.add_argument("--share", type=float, default=1.0, help="of the tries of each part (1)")
    made.add_argument("--seed", type=int, default=0, help="of all that is random (0)")
    asked = made.parse_args()
    broken = 0
    for name in asked.parts or PARTS:
        counts, begun = Counts(name), time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"recsys-lora-{name}-") as place:
            PARTS[name](Path(place), asked.share, asked.seed, counts)
        broken += counts.tell(time.monotonic() - begun)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
