"""The current batch's state, which layers read: generated factors, the tokens they act at, tasks and shifts.

One object, never changed but *replaced* as a whole by the next forward of the same thread, so that gradient
checkpointing recomputes a layer with the factors its forward used (`checkpointing.py`). Each thread has its own, so
several can score with one model.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recsys_lora.lowrank.shift import BottleneckShift


@dataclass(frozen=True)
class BatchState:
    """The state of one batch.

    Attributes:
        generated: key -> A (B, in, R), already times alpha / R and in the backbone's dtype.
        task: each sample's task (B,), int64.
        shift: what `Shifted` sources add.
        frozen: whether gradients are kept from the layers' learned factors.
        acts_at: the tokens (B, T) bool of the padded input at which generated factors act; None for all.
    """

    generated: Mapping[str, Tensor] = field(default_factory=dict)
    task: Tensor | None = None
    shift: BottleneckShift | None = None
    frozen: bool = False
    acts_at: Tensor | None = None

    def untouched(self, tokens: int) -> int:
        """Return how many of `tokens` tokens precede the first at which anything specific to a sample acts."""
        acts = torch.full((tokens,), bool(self.generated) and self.acts_at is None)
        if self.generated and self.acts_at is not None:
            acts |= self.acts_at[:, :tokens].any(0).cpu()
        if self.shift is not None:
            acts[self.shift.positions[self.shift.positions >= 0].cpu()] = True
        return int((~acts).long().cumprod(0).sum())

    def window(self, rows: int, begin: int, end: int) -> "BatchState":
        """Return the state of a forward that reads tokens `begin` to `end` of the first `rows` samples."""
        return BatchState(
            {key: factor[:rows] for key, factor in self.generated.items()},
            None if self.task is None else self.task[:rows],
            None if self.shift is None else self.shift.window(rows, begin, end),
            self.frozen,
            None if self.acts_at is None else self.acts_at[:rows, begin:end],
        )

    def after_prompt(self, copies: int = 1) -> "BatchState":
        """Return the state of a forward that reads the tokens after the prompts, with `copies` rows per sample.

        Generated factors act at all of these tokens, and no shift is added.
        """

        def repeated(tensor: Tensor) -> Tensor:
            return tensor if copies == 1 else tensor.repeat_interleave(copies, dim=0)

        return BatchState(
            {key: repeated(factor) for key, factor in self.generated.items()},
            None if self.task is None else repeated(self.task),
            None
            if self.shift is None
            else BottleneckShift(*map(repeated, (self.shift.vectors[:, :0], self.shift.positions[:, :0]))),
            self.frozen,
        )

    def confined(self, product: Tensor) -> Tensor:
        """Return a low-rank product (B, T, R) of generated factors, zero at tokens where they do not act.

        Raises:
            ValueError: the product has a different number of samples or tokens.
        """
        if self.acts_at is None:
            return product
        if self.acts_at.shape != product.shape[:2]:
            tokens, given = tuple(self.acts_at.shape), tuple(product.shape)
            raise ValueError(f"factors act at tokens {tokens}, which do not fit a product {given}")
        return torch.where(self.acts_at.unsqueeze(-1), product, 0)


@dataclass(frozen=True)
class GeneratedShape:
    """The shape that layers reading one generated A expect: (B, in_features, rank), to be scaled by `scale`."""

    in_features: int
    rank: int
    scale: float


class Here(threading.local):
    """The state that the forwards of one thread see; new threads and copies start with the initial values.

    `torch.compile` can read a `threading.local`, but no `ContextVar`.

    Attributes:
        state: the batch's state; None: no pair, the original model.
        enabled: whether the layers add anything at all.
    """

    def __init__(self) -> None:  # once per thread: torch before 2.12 cannot compile class-only attributes
        self.state: BatchState | None = None
        self.enabled = True

    def __reduce__(self) -> tuple[type["Here"], tuple[()]]:
        return Here, ()


class StateSlot:
    """Where layers find the `BatchState` of the thread that calls them."""

    def __init__(self, dtype: torch.dtype) -> None:
        """Args: dtype: the backbone's dtype; the factors are cast to it once per batch, not once per layer."""
        self.dtype = dtype
        self.shapes: dict[str, GeneratedShape] = {}
        self.here = Here()

    @property
    def current(self) -> BatchState | None:
        """This thread's state."""
        return self.here.state

    @current.setter
    def current(self, state: BatchState | None) -> None:
        self.here.state = state

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Let this thread's forwards pass only the frozen maps."""
        before = self.here.enabled
        self.here.enabled = False
        try:
            yield
        finally:
            self.here.enabled = before

    def bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that uses this thread's current state, on whatever thread it runs."""
        state, enabled = self.here.state, self.here.enabled

        def run(*args: Any, **kwargs: Any) -> Any:
            here = self.here
            before = here.state, here.enabled
            here.state = state
            here.enabled = enabled
            try:
                return function(*args, **kwargs)
            finally:
                here.state, here.enabled = before

        return run

    def declare(self, key: str, shape: GeneratedShape) -> None:
        """Register a layer that reads the generated factors `key`.

        Raises:
            ValueError: another layer reads the same key with a different shape or scale.
        """
        known = self.shapes.setdefault(key, shape)
        if known != shape:
            raise ValueError(f"generated factors {key!r} are read as {known} by one layer and as {shape} by another")

    def set(
        self,
        generated: Mapping[str, Tensor] | None = None,
        task: Tensor | None = None,
        frozen: bool = False,
        shift: BottleneckShift | None = None,
        acts_at: Tensor | None = None,
    ) -> BatchState:
        """Replace the state for the next forward.

        Args:
            generated: key -> A (B, in, R) of every key in `shapes`, unscaled, any float dtype.
            task: each sample's task (B,), for `Routed` sources.
            frozen: keep gradients from the factors that the layers own; `generated` and `shift` still get theirs.
            shift: what is added at which tokens, for `Shifted` sources.
            acts_at: the tokens (B, T) bool at which `generated` acts; None for all.

        Raises:
            ValueError: a key is missing or unknown, an A does not have the shape that its layers read, or the shift's
                numbers of vectors and positions differ.
        """
        given = generated or {}
        if given and set(given) != set(self.shapes):
            raise ValueError(f"factors for {sorted(given)} were given, the layers read {sorted(self.shapes)}")
        scaled = {}
        for key, factor in given.items():
            shape = self.shapes[key]
            if factor.dim() != 3 or factor.shape[1:] != (shape.in_features, shape.rank):
                wanted = f"(B, {shape.in_features}, {shape.rank})"
                raise ValueError(f"factors {key!r} have shape {tuple(factor.shape)}, the layers read {wanted}")
            scaled[key] = (factor * shape.scale).to(self.dtype)
        if shift is not None and shift.vectors.shape[:-1] != shift.positions.shape:
            vectors, positions = tuple(shift.vectors.shape), tuple(shift.positions.shape)
            raise ValueError(f"a shift's vectors {vectors} and positions {positions} do not go together")
        self.current = BatchState(scaled, task, shift, frozen, acts_at)
        return self.current

    def clear(self) -> None:
        """Forget the batch: `Generated` layers return the original output again."""
        self.current = None
