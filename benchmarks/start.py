"""Response time of the command line when there is nothing to compute.

    python benchmarks/start.py
    python benchmarks/start.py --rounds 10 --json start.json

Run in turn, each in its own process, with all files in the disk cache:

    --help              the overview of the options
    a wrong override    composing the config, and one line of error
    --cfg job           composing the config and printing it
    import torch, transformers    the cost of importing libraries before looking at the arguments

It first checks that each has the right exit status and output. The ratio is a case's time over that of the imports, in
the same round; the target is a time. Peak memory is not measured.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import _table
import _timing
from _table import Aim, Row
from _timing import Step

IMPORTS = "import torch, transformers"
RUN = ("-m", "recsys_lora.run")
AIM = Aim(1500, "at most", of="ms")


@dataclass(frozen=True)
class Command:
    """One command line and its expected result.

    Attributes:
        arguments: arguments of python.
        status: the exit status.
        says: part of the output.
        lines: maximum number of lines of output; None: no maximum.
    """

    arguments: tuple[str, ...]
    status: int = 0
    says: str = ""
    lines: int | None = None

    def __call__(self) -> "subprocess.CompletedProcess[str]":
        """Run it."""
        command = [sys.executable, *self.arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def check(self, case: str) -> None:
        """Exit if the result of the command is not the expected one."""
        answer = self()
        lines = answer.stdout.splitlines()
        if answer.returncode != self.status or self.says not in answer.stdout:
            sys.exit(f"{case}: exit status {answer.returncode}, {self.status} expected: {lines[-1:]}")
        if self.lines is not None and len(lines) > self.lines:
            sys.exit(f"{case}: {len(lines)} lines, at most {self.lines} expected")


COMMANDS = {
    "--help": Command((*RUN, "--help"), says="model"),
    "a wrong override": Command((*RUN, "model=coral"), status=2, says="error: ", lines=1),
    "--cfg job": Command((*RUN, "--cfg", "job"), says="trainer:"),
    IMPORTS: Command(("-c", IMPORTS)),
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    return _timing.parser(__doc__, rounds=5).parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure and print."""
    options = arguments(argv)
    for case, command in COMMANDS.items():
        command.check(case)
    steps: dict[str, Step] = dict(COMMANDS)
    aims = {case: AIM for case in COMMANDS if case != IMPORTS}
    rows = _timing.compared(_timing.in_turn(steps, options), IMPORTS, aims)
    packages = ("hydra-core", "torch", "transformers")
    _table.report(rows, _table.environment(options, packages), options)
    return rows


if __name__ == "__main__":
    main()
