"""The location of the yaml files."""

from pathlib import Path

from recsys_lora.config.variants import choices

GROUPS = (
    "model", "data", "cf", "llm", "trainer", "budget", "rates", "preset", "logger", "callbacks", "row",
    "experiment", "ablation", "hparams_search", "debug", "paths",
)  # fmt: skip
"""The config groups, in the order in which they are listed."""


def conf_dir() -> Path:
    """Return the folder of the yaml files: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def options(group: str) -> list[str]:
    """Return a group's choices, sorted."""
    return choices(conf_dir(), group)
