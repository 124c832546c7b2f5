"""Scoring with a caller's module without changing its device or mode, and caching of what is computed from tensors."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

T = TypeVar("T")


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's parameters, where the rows that it scores have to be."""
    return next(module.parameters()).device


@dataclass
class _Use:
    """How many callers are scoring with a module, and its mode before the first of them."""

    count: int
    was_training: bool


_uses: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode; if several threads score with it, the last one restores its mode."""
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


class Kept(nn.Module, Generic[T]):
    """A cache for what is computed from tensors, without gradients, until they change.

    The tensors are held, too, so that no others get their addresses. The cache is cleared whenever the module that it
    is part of changes its mode: fused optimisers leave no trace in a tensor's version.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: tuple[list[tuple[int, int]], Sequence[Tensor], T] | None = None

    def forward(self, tensors: Sequence[Tensor], make: Callable[[], T]) -> T:
        """Return what `make` computes from the tensors."""
        state, kept = [(tensor.data_ptr(), tensor._version) for tensor in tensors], self._made  # others may replace it
        if kept is None or kept[0] != state:
            with torch.inference_mode(False), torch.no_grad():
                self._made = kept = (state, tensors, make())
        return kept[2]

    def forget(self) -> None:
        """Clear the cache."""
        self._made = None

    def train(self, mode: bool = True) -> "Kept[T]":
        """Switch between training and evaluation, and clear the cache."""
        self.forget()
        super().train(mode)
        return self
