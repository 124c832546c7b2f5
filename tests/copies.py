"""Commands in copies of one process: what all of them import is loaded once, which takes longer than most of them."""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

COMMAND = "from recsys_lora.cli.main import main; main()"
COPIES = """
import importlib, json, os, sys
loaded, program, lines = json.loads(sys.argv[1])
for module in loaded:
    importlib.import_module(module)
for number, (folder, arguments) in enumerate(lines):
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(f"{number}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv[1:] = arguments
    status = 0
    try:
        exec(program)
    except SystemExit as leaving:
        status = leaving.code or 0
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)  # to take a copy's modules down takes longer than its command
"""


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def typed(
    lines: Iterable[tuple[Path, Sequence[str]]], loaded: Sequence[str] = (), program: str = COMMAND
) -> list[Done]:
    """Run one command after the other, as `recsys-lora` does.

    Args:
        lines: the working folder and the arguments of each; its output is written into the folder.
        loaded: modules that all of them import.
        program: what runs a command line, in place of `recsys-lora`.
    """
    lines = [(str(folder), list(arguments)) for folder, arguments in lines]
    copies = [sys.executable, "-c", COPIES, json.dumps([list(loaded), program, lines])]
    statuses = subprocess.run(copies, stdout=-1, text=True, check=True).stdout.split()
    said = [
        [Path(folder, f"{number}.{stream}").read_text() for stream in (1, 2)]
        for number, (folder, _) in enumerate(lines)
    ]
    return [Done(int(status), *streams) for status, streams in zip(statuses, said, strict=True)]
