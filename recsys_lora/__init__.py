"""Collaborative signal for language models: CoRA, CKF and their peers on one shared frame."""

from typing import TYPE_CHECKING, Any

from recsys_lora.version import __version__

if TYPE_CHECKING:
    from recsys_lora.api import compose, load, run_config

__all__ = ["__version__", "compose", "load", "run_config"]


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first asked for, so that `import recsys_lora` costs next to nothing."""
    if name not in ("compose", "load", "run_config"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recsys_lora import api

    return getattr(api, name)
