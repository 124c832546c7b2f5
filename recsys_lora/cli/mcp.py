"""`recsys-lora mcp run=RUN`: offer a finished run as tools for assistants, over standard input and output."""

import contextlib
import sys
from collections.abc import Sequence

from pydantic import Field

from recsys_lora.cli.settings import RunSettings, answer
from recsys_lora.utils.errors import require
from recsys_lora.utils.libraries import load_libraries
from recsys_lora.utils.types import PositiveInt


class Settings(RunSettings):
    """Offer a run as tools of the Model Context Protocol, over standard input and output."""

    max_rows: PositiveInt = Field(5000, description="most (user, item) pairs in a call")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("mcp", Settings, _do, arguments)


def _do(settings: Settings) -> None:
    """Load and serve until standard input ends; heavy imports happen here."""
    require("mcp", "mcp", by="mcp")
    load_libraries()
    from recsys_lora.serving.tools import make_tools

    with contextlib.redirect_stdout(sys.stderr):  # standard output carries the protocol
        tools = make_tools(settings.load(), settings.max_rows)
    tools.run("stdio")
