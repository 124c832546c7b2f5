"""`recsys-lora export run=RUN to=peft`: a finished run out of the framework."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from recsys_lora.cli.settings import Help, answer

To = Literal["peft", "gguf-lora", "merged", "vectors", "bundle"]


@dataclass(frozen=True)
class Settings:
    """Take a finished run out of the framework."""

    run: Annotated[Path, Help("folder of the run, or of an exported bundle")]
    to: Annotated[To, Help("peft or gguf-lora (adapters), merged (a model), vectors, or bundle (for recsys_lora.load)")]
    out: Annotated[Path | None, Help("folder to make; by default a name of its own in exports/")] = None
    user: Annotated[str | None, Help("whose weights (CoRA), or whose prompt is written beside an adapter")] = None
    item: Annotated[str | None, Help("the same")] = None
    task: Annotated[str | None, Help("whose updates, where they differ by task (CKF)")] = None
    device: Annotated[str, Help("auto, cpu, cuda or cuda:N")] = "cpu"
    trust: Annotated[str | None, Help("packages whose code the run may name, as my_package,other")] = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    answer("export", Settings, _do, arguments)


def _do(asked: Settings) -> None:
    """Load and write; heavy imports happen here, after the command line has been understood."""
    from recsys_lora.config.trust import packages
    from recsys_lora.export.adapter import Asked, export_adapter
    from recsys_lora.export.bundle import export_bundle
    from recsys_lora.export.gguf_lora import export_gguf_lora
    from recsys_lora.export.merged import export_merged
    from recsys_lora.export.names import check_target, own_name
    from recsys_lora.export.vectors import export_vectors
    from recsys_lora.recommender.load import load
    from recsys_lora.utils.console import say

    if asked.out is not None:
        check_target(asked.out)
    recommender = load(asked.run, device=asked.device, trust=packages(asked.trust))
    which = Asked(asked.user, asked.item, asked.task)
    out = asked.out or Path("exports") / own_name(recommender.run, asked.to, which)
    if asked.to == "peft":
        export_adapter(recommender, out, which)
    elif asked.to == "gguf-lora":
        export_gguf_lora(recommender, out, which)
    elif asked.to == "merged":
        export_merged(recommender, out, which)
    elif asked.to == "vectors":
        export_vectors(recommender, out)
    else:
        export_bundle(recommender.run, out)
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e6
    say(f"{out}: {asked.to}, {len(files)} files, {size:.1f} MB")
