"""`recsys-lora serve run=RUN`: a finished run behind HTTP, with a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from annotated_types import Interval
from pydantic import ByteSize

from recsys_lora.cli.settings import Help, RunSettings, answer
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat, PositiveFloat, PositiveInt

MEGABYTE = ByteSize(1_000_000)
Port = Annotated[int, Interval(ge=0, le=65535)]


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """Serve a finished run over HTTP, with a page, until SIGTERM or Ctrl-C."""

    other: Annotated[Path | None, Help("folder of a second run, which the page shows beside the first")] = None
    host: Annotated[str, Help("address to listen on; 0.0.0.0: all")] = "127.0.0.1"
    port: Annotated[Port, Help("0 takes a free one")] = 8000
    token: Annotated[str | None, Help("who asks has to send Authorization: Bearer TOKEN")] = None
    token_file: Annotated[Path | None, Help("file that holds the token, which then no process list shows")] = None
    window_ms: Annotated[NonNegativeFloat, Help("how long a request waits for others")] = 5.0
    max_batch: Annotated[PositiveInt, Help("requests that are computed as one batch")] = 64
    max_rows: Annotated[PositiveInt, Help("pairs of a request, and of a batch")] = 5000
    max_waiting: Annotated[PositiveInt, Help("requests that wait; further ones are turned away")] = 1024
    max_body: Annotated[ByteSize, Help("largest request")] = MEGABYTE
    timeout: Annotated[PositiveFloat, Help("seconds of a request")] = 30.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("serve", Settings, _do, arguments)


def _do(settings: Settings) -> None:
    """Load and serve; heavy imports happen here, after the command line has been understood."""
    if missing := [package for package in ("fastapi", "uvicorn") if find_spec(package) is None]:
        raise UserError(f"serve: {', '.join(missing)} is not installed: pip install 'recsys-lora[serve]'")
    token = _token(settings)
    from recsys_lora.serving.batcher import Limits
    from recsys_lora.serving.server import serve
    from recsys_lora.serving.service import Options

    limits = Limits(settings.window_ms / 1000, settings.max_batch, settings.max_rows, settings.max_waiting)
    options = Options(limits, token, max_body=int(settings.max_body), timeout=settings.timeout)
    run, other = settings.load(), None if settings.other is None else settings.load(settings.other)
    serve(run, settings.host, settings.port, options, other)


def _token(settings: Settings) -> str | None:
    """Return the token.

    Raises:
        UserError: it is empty or given twice, or its file cannot be read.
    """
    if settings.token is not None and settings.token_file is not None:
        raise UserError("token, token_file: give one of them")
    token = settings.token
    if settings.token_file is not None:
        try:
            token = settings.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"token_file={settings.token_file}: cannot be read: give a text file") from error
    if token is not None and not (token and token.isascii()):
        raise UserError("token: give one or more ASCII characters")
    return token
