"""`recsys-lora serve run=RUN`: serve a finished run over HTTP, with a web page."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ByteSize, Field

from recsys_lora.cli.settings import RunSettings, answer
from recsys_lora.utils.errors import UserError, require
from recsys_lora.utils.libraries import load_libraries
from recsys_lora.utils.types import NonNegativeFloat, PositiveFloat, PositiveInt

MEGABYTE = ByteSize(1_000_000)


class Settings(RunSettings):
    """Serve a run over HTTP, with a web page, until Ctrl-C or SIGTERM."""

    other: Path | None = Field(None, description="a second run, which the page shows beside the first")
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any free one")
    token: str | None = Field(None, description="clients have to send Authorization: Bearer TOKEN")
    token_file: Path | None = Field(None, description="file that holds the token, which keeps it out of process lists")
    window_ms: NonNegativeFloat = Field(
        5.0, description="milliseconds that a request waits for others to join its batch"
    )
    max_batch: PositiveInt = Field(64, description="most requests in a batch")
    max_rows: PositiveInt = Field(5000, description="most (user, item) pairs in a request, and in a batch")
    max_waiting: PositiveInt = Field(1024, description="most requests that wait; further ones get status 503")
    max_body: ByteSize = Field(MEGABYTE, description="bytes of the largest request")
    timeout: PositiveFloat = Field(30.0, description="seconds after which a request fails")

    @property
    def folders(self) -> list[Path]:
        """The runs that the verb loads."""
        return [self.run] if self.other is None else [self.run, self.other]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("serve", Settings, _do, arguments)


def _do(settings: Settings) -> None:
    require("serve", "fastapi", "uvicorn", by="serve")
    token = _token(settings)
    load_libraries()
    from recsys_lora.serving.batcher import Limits
    from recsys_lora.serving.server import serve
    from recsys_lora.serving.service import Options

    limits = Limits(settings.window_ms / 1000, settings.max_batch, settings.max_rows, settings.max_waiting)
    options = Options(limits, token, max_body=int(settings.max_body), timeout=settings.timeout)
    run, other = settings.load(), None if settings.other is None else settings.load(settings.other)
    serve(run, settings.host, settings.port, options, other)


def _token(settings: Settings) -> str | None:
    """Return the token; raise a `UserError` if it is empty or given twice, or its file cannot be read."""
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
