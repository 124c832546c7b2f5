"""What exported folders are called, and which folders may be replaced."""

import re
from pathlib import Path

from recsys_lora.export.adapter import PROMPT, Asked
from recsys_lora.export.vectors import ITEMS
from recsys_lora.pipeline.artifact_paths import FILE, STORE
from recsys_lora.pipeline.loading import Loaded
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import content_key

OURS = (PROMPT, ITEMS)
"""Files by which an exported folder is known, but for a bundle."""


def own_name(run: Loaded, to: str, asked: Asked) -> str:
    """Return a name that no other export has: the run's, what it is exported to, and a key of all that is in it."""
    made = [run.made.prepare, run.made.cf, run.made.weights, run.config.llm, asked.user, asked.item, asked.task]
    parts = [str(run.config.name), to, *filter(None, (asked.task, asked.user, asked.item)), content_key(made)]
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part)[:40] for part in parts)


def check_target(folder: Path) -> None:
    """Refuse to replace a folder that is not an export: the swap would delete what is in it.

    Raises:
        UserError: it is a file, or a folder of something else.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={folder}: is a file: name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_export(folder):
        raise UserError(f"out={folder}: the folder holds something else: name a new one")


def _is_export(folder: Path) -> bool:
    """Tell an export from all else; a run has a record of its parts, as a bundle, but the parts are elsewhere."""
    return any((folder / name).is_file() for name in OURS) or all((folder / name).exists() for name in (FILE, STORE))
