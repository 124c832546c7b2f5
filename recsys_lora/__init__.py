"""Collaborative signal for language models: CoRA, CKF and their peers in one framework."""

import importlib
from typing import TYPE_CHECKING, Any

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.version import __version__

if TYPE_CHECKING:
    from recsys_lora.config.compose import compose
    from recsys_lora.pipeline.job import build, run_config
    from recsys_lora.recommender.load import load

__all__ = ["UserError", "__version__", "build", "compose", "load", "run_config"]

_LAZY = {"build": "pipeline.job", "compose": "config.compose", "load": "recommender.load", "run_config": "pipeline.job"}


def __getattr__(name: str) -> Any:
    """Import a part of the Python API on first use, so that `import recsys_lora` costs next to nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
