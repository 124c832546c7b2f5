"""The libraries that a command takes seconds to import."""

import gc
import importlib
import sys

HEAVY = ("lightning", "transformers.modeling_utils")  # and through them torch


def load_libraries() -> None:
    """Import them without collecting garbage, and leave them out of every later collection.

    Collections would go again and again through a growing million of objects that stay, and once more at the end of
    the process: two of five seconds (CPython 3.11, torch 2.13).
    """
    if HEAVY[0] in sys.modules:
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
