"""`recsys-lora mcp run=RUN`: a finished run as tools for assistants, over standard input and output."""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from recsys_lora.cli.settings import Help, answer
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveInt


@dataclass(frozen=True)
class Settings:
    """Offer a finished run as tools of the Model Context Protocol, over standard input and output."""

    run: Annotated[Path, Help("folder of the run, or of an exported bundle")]
    max_rows: Annotated[PositiveInt, Help("pairs of a call")] = 5000
    device: Annotated[str, Help("auto, cpu, cuda or cuda:N")] = "auto"
    trust: Annotated[str | None, Help("packages whose code the run may name, as my_package,other")] = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("mcp", Settings, _do, arguments)


def _do(asked: Settings) -> None:
    """Load and serve until standard input ends; heavy imports happen here."""
    if find_spec("mcp") is None:
        raise UserError("mcp: mcp is not installed: pip install 'recsys-lora[mcp]'")
    from recsys_lora.config.trust import packages
    from recsys_lora.recommender.load import load
    from recsys_lora.serving.tools import make_tools

    with contextlib.redirect_stdout(sys.stderr):  # standard output is the protocol's
        tools = make_tools(load(asked.run, device=asked.device, trust=packages(asked.trust)), asked.max_rows)
    tools.run("stdio")
