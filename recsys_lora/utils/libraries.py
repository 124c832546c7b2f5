"""Libraries that take seconds to import."""

import gc
import importlib
import sys

HEAVY = ("numpy", "lightning", "transformers.modeling_utils")
"""They import torch, too, after numpy: an interrupt while torch imports numpy would be lost."""


def load_libraries() -> None:
    """Import `HEAVY` without garbage collection, and exclude them from every later collection.

    Collections would repeatedly go through up to a million objects that stay, and once more at the end of the process:
    two of five seconds (CPython 3.11, torch 2.13).
    """
    if all(name in sys.modules for name in HEAVY):
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        for name in HEAVY:
            importlib.import_module(name)
        gc.freeze()
    finally:
        if collects:
            gc.enable()
