"""`recsys-lora export run=RUN to=peft`: export a finished run for use outside the framework."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from recsys_lora.cli.settings import RunSettings, answer
from recsys_lora.utils.libraries import load_libraries
from recsys_lora.utils.words import counted

To = Literal["peft", "gguf-lora", "merged", "vectors", "bundle"]


class Settings(RunSettings):
    """Write a run in a form that other programs read."""

    to: To = Field(
        description="bundle (for recsys_lora.load), peft or gguf-lora (adapters), merged (a model), or vectors"
    )
    out: Path | None = Field(None, description="folder to write; by default a new one in exports/")
    user: str | None = Field(None, description="the user whose weights (CoRA) or whose prompt is written")
    item: str | None = Field(None, description="the item of these")
    task: str | None = Field(None, description="the task whose adapter is written (CKF)")
    device: str = Field("cpu", description="auto, cpu, cuda or cuda:N")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("export", Settings, _do, arguments)


def _do(settings: Settings) -> None:
    """Load and write; heavy imports happen here, after the command line has been parsed."""
    load_libraries()
    from recsys_lora.export.adapter import Selection
    from recsys_lora.export.export import check_target, export, own_name
    from recsys_lora.utils.console import say

    if settings.out is not None:
        check_target(settings.out)
    recommender = settings.load()
    which = Selection(settings.user, settings.item, settings.task)
    out = settings.out or Path("exports") / own_name(recommender.run, settings.to, which)
    export(recommender, settings.to, out, which)
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    written = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
    say(f"{out}: {settings.to}, {counted(len(files), 'file')}, {written}")
