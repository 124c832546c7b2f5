"""Scoring with a module of the caller: it stays on its device, and its mode is restored afterwards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's parameters are, and where the rows that it scores have to be."""
    return next(module.parameters()).device


@dataclass
class _Use:
    """How many score with a module at present, and its mode before the first of them."""

    count: int
    was_training: bool


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode; of several threads that score with it, the last one restores its mode."""
    with _lock:
        use = _uses.setdefault(module, _Use(0, module.training))
        use.count += 1
        if use.count == 1:
            module.eval()
    try:
        yield
    finally:
        with _lock:
            use.count -= 1
            if not use.count:
                del _uses[module]
                module.train(use.was_training)
