"""What came of tries: how many of each kind ended how, and what broke."""

import sys
from collections import Counter

SHOWN = 20


class Counts:
    """The outcomes of one part.

    Args:
        part: its name.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self._found: dict[str, Counter[str]] = {}
        self._broken: list[str] = []

    def add(self, kind: str, outcome: str) -> None:
        """Count a try."""
        self._found.setdefault(kind, Counter())[outcome] += 1

    def broke(self, kind: str, what: str) -> None:
        """Count a try that ended as none may."""
        self.add(kind, "BROKEN")
        self._broken.append(f"{kind}: {what}")
        sys.stderr.write(f"{self._broken[-1]}\n")

    def tell(self, seconds: float) -> int:
        """Print the table; returns how many broke."""
        outcomes = list(dict.fromkeys(name for found in self._found.values() for name in found))
        lines = [[self.part, "tries", *outcomes], ["---"] * (len(outcomes) + 2)]
        for kind, found in self._found.items():
            lines.append([kind, f"{found.total():,}", *(f"{found[name]:,}" for name in outcomes)])
        text = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        total = sum(found.total() for found in self._found.values())
        text += f"{total:,} tries in {seconds:.0f} s, {len(self._broken)} broke\n\n"
        sys.stdout.write(text + "".join(f"{line}\n" for line in self._broken[:SHOWN]))
        sys.stdout.flush()
        return len(self._broken)
