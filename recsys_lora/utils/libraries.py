"""The libraries that a command takes seconds to import."""

import gc
import importlib
import sys

HEAVY = ("numpy", "lightning", "transformers.modeling_utils")
"""And through them torch, after numpy: an interruption while torch imports numpy would be lost."""


def load_libraries() -> None:
    """Import them without collecting garbage, and leave them out of every later collection.

    Collections would go again and again through a growing million of objects that stay, and once more at the end of
    the process: two of five seconds (CPython 3.11, torch 2.13).
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
