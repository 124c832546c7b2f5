"""Exports a run as a folder, in a format that other programs read."""

import re
from collections.abc import Callable
from pathlib import Path

from recsys_lora.export.adapter import PROMPT, Selection, write_adapter
from recsys_lora.export.bundle import write_bundle
from recsys_lora.export.gguf_lora import write_gguf_lora
from recsys_lora.export.merged import write_merged
from recsys_lora.export.vectors import ITEMS, write_vectors
from recsys_lora.pipeline.artifact_paths import FILE, STORE
from recsys_lora.pipeline.loading import Loaded
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import atomic_folder, content_key

WRITERS: dict[str, Callable[[Recommender, Path, Selection], None]] = {
    "peft": write_adapter,
    "gguf-lora": write_gguf_lora,
    "merged": write_merged,
    "vectors": lambda recommender, folder, asked: write_vectors(recommender, folder),
    "bundle": lambda recommender, folder, asked: write_bundle(recommender.run, folder),
}
"""Functions that fill an empty folder, by format."""
OURS = (PROMPT, ITEMS)
"""Files by which an exported folder is recognised, except for a bundle."""


def export(recommender: Recommender, to: str, folder: Path, selection: Selection | None = None) -> Path:
    """Export a run.

    Args:
        recommender: the run.
        to: the format, a key of `WRITERS`.
        folder: the target; replaced if it exists.
        selection: which updates, if they have to be chosen.

    Returns:
        The folder.

    Raises:
        UserError: the run cannot be exported like this, or the disk is full.
    """
    with atomic_folder(folder) as made:
        WRITERS[to](recommender, made, selection or Selection())
    return folder


def own_name(run: Loaded, to: str, selection: Selection) -> str:
    """Return a name that no other export has: the run's name, the format, and a key of the contents."""
    chosen, made = (selection.task, selection.user, selection.item), run.made
    key = content_key([made.prepare, made.cf, made.weights, run.config.llm, *vars(selection).values()])
    parts = [str(run.config.name), to, *filter(None, chosen), key]
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:40] for part in parts)


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that is not an export: its contents would be deleted.

    Raises:
        UserError: it is a file, or a folder of something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={folder}: is a file: name a folder")
    bundled = all((folder / name).exists() for name in (FILE, STORE))  # a run's parts are elsewhere
    ours = bundled or any((folder / name).is_file() for name in OURS)
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise UserError(f"out={folder}: the folder holds something else: name a new one")
