"""The sources of a layer's factors.

For an input x (B, T, in), every source gives the low-rank product u = dropout(x) A (B, T, R) and the factor P that
maps it to the output; the layer adds `scale · u P^T`. P starts at zero, so a new source changes nothing.

Trainable factors are kept in float32 and cast to the input's dtype for the product. If the batch's state is frozen,
the product is the same, but no gradient reaches them.

Dropout. On a CPU, one mask entry per element of x costs more than the whole low-rank product (at width 576, over twice
the frozen matrix product itself). `per="sample"` therefore draws, anew for every product, which input features a sample
loses, for all its tokens at once (the mask of Gal and Ghahramani, 2016, arXiv 1512.05287): it then multiplies A,
which is a tenth as large as x or less. `per="token"` masks each element of x.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recsys_lora.lowrank.state import BatchState

DropoutPer = Literal["sample", "token"]


class _Transposed(torch.autograd.Function):
    """Contiguous P^T (R, out) of P (out, R) in a dtype: transpose, cast and copy in one operation, in backward, too.

    With a copy of P^T, autograd computes its gradient as u^T dy, which is faster than (dy^T u)^T.
    """

    @staticmethod
    def forward(ctx: Any, factor: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype = factor.dtype
        return _transposed(factor, dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _transposed(grad, ctx.dtype), None


def _transposed(factor: Tensor, dtype: torch.dtype) -> Tensor:
    if factor.dtype == dtype:
        return factor.T.contiguous()
    return factor.T.to(dtype, memory_format=torch.contiguous_format)


class Source(nn.Module):
    """The base class of all sources; a subclass defines A.

    Args:
        rank: R.
        scale: applied by the layer to `u P^T`.
        dropout: share of the input features dropped in training.
        dropout_per: see the module docstring.

    Attributes:
        P: the learned factor that maps u to the output.
    """

    P: nn.Parameter

    def __init__(self, rank: int, scale: float, dropout: float, dropout_per: DropoutPer) -> None:
        super().__init__()
        self.rank = rank
        self.scale = scale
        self.dropout = dropout
        self.dropout_per = dropout_per

    def factor(self, x: Tensor, state: BatchState | None) -> Tensor | None:
        """Return A, (in, R) or (B, in, R), in x's dtype; None if there is nothing to add."""
        raise NotImplementedError

    def shared_as(self) -> str | None:
        """Return the name of an A shared by sources of several layers; None if A is the source's own."""
        return None

    def finished(self, product: Tensor, state: BatchState | None) -> Tensor:
        """Return u (B, T, R) from dropout(x) A."""
        return product

    def output(self, dtype: torch.dtype, state: BatchState | None) -> Tensor:
        """Return P^T, (R, out) or (B, R, out), in the given dtype."""
        made: Tensor = _Transposed.apply(_reached(self.P, state), dtype)  # type: ignore[no-untyped-call]
        return made


def _reached(factor: Tensor, state: BatchState | None) -> Tensor:
    """Return a learned factor, detached if the state is frozen."""
    return factor.detach() if state is not None and state.frozen else factor


class Static(Source):
    """One A and one P, learned: LoRA (Hu et al., 2021, arXiv 2106.09685).

    Args:
        in_features: width of the layer's input.
        out_features: width of its output.
        rank: R.
        alpha: the update is scaled by alpha / R.
        dropout: share of the input features dropped in training.
        dropout_per: see the module docstring.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        dropout_per: DropoutPer = "sample",
    ) -> None:
        super().__init__(rank, alpha / rank, dropout, dropout_per)
        self.A = nn.Parameter(torch.empty(in_features, rank))
        self.P = nn.Parameter(torch.zeros(out_features, rank))
        nn.init.kaiming_uniform_(self.A.T, a=math.sqrt(5))  # fan-in is in_features, as in LoRA and peft

    def factor(self, x: Tensor, state: BatchState | None) -> Tensor:
        """Return A (in, R); the state may be None."""
        return _reached(self.A, state).to(x.dtype)


class Shifted(Static):
    """LoRA with vectors of the batch added inside the bottleneck: u = dropout(x) A + s (GraphLoRA, arXiv 2606.07526).

    s is the state's `shift` at its tokens and zero at all others. The arguments and the parameters' names are those of
    `Static`, so weights trained as LoRA can be loaded.
    """

    def finished(self, product: Tensor, state: BatchState | None) -> Tensor:
        """Return u (B, T, R).

        Raises:
            ValueError: the state has no shift, or one with a different width or number of samples.
        """
        if state is None or state.shift is None:
            raise ValueError("a shifted source needs its vectors: call state.set(shift=...) before the forward")
        return state.shift.added_to(product)


class Routed(Source):
    """One A and one P for each of several tasks; every sample uses its own task's (CKF's Multi-LoRA).

    A batch may mix tasks: factors are gathered per sample, and both products are batched. A task without a sample in
    the batch gets a gradient of exactly zero. The arguments are those of `Static`, with R per task, and the number of
    tasks.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        alpha: float,
        tasks: int,
        dropout: float = 0.0,
        dropout_per: DropoutPer = "sample",
    ) -> None:
        super().__init__(rank, alpha / rank, dropout, dropout_per)
        self.A = nn.Parameter(torch.empty(tasks, in_features, rank))
        self.P = nn.Parameter(torch.zeros(tasks, out_features, rank))
        for factor in self.A.data:
            nn.init.kaiming_uniform_(factor.T, a=math.sqrt(5))

    def factor(self, x: Tensor, state: BatchState | None) -> Tensor:
        """Return each sample's A (B, in, R).

        Raises:
            ValueError: the state does not have a task for each sample.
        """
        if state is not None and state.task is not None and state.task.shape != x.shape[:1]:
            raise ValueError(f"{len(state.task)} tasks were given for a batch of {x.shape[0]} samples")
        return self._of_samples(self.A, x.dtype, state)

    def output(self, dtype: torch.dtype, state: BatchState | None) -> Tensor:
        """Return each sample's P^T (B, R, out)."""
        return self._of_samples(self.P, dtype, state).mT

    def _of_samples(self, factor: Tensor, dtype: torch.dtype, state: BatchState | None) -> Tensor:
        if state is None or state.task is None:
            raise ValueError("a routed source needs each sample's task: call state.set(task=...) before the forward")
        return _reached(factor, state).to(dtype).index_select(0, state.task)


class Generated(Source):
    """An A generated for every sample by a network and read from the batch's state, and a learned P (CoRA).

    Sources with the same `key` share one A (B, in, R). That A already includes the factor alpha / R, applied once per
    batch, so `scale` is 1 here. If the state names tokens (`acts_at`), u is zero at all others: they pass only the
    frozen map.

    The arguments are `key`, the name of the generated A that this layer reads, then those of `Static`.
    """

    def __init__(
        self,
        key: str,
        in_features: int,
        out_features: int,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        dropout_per: DropoutPer = "sample",
    ) -> None:
        super().__init__(rank, 1.0, dropout, dropout_per)
        self.key = key
        self.in_features = in_features
        self.generated_scale = alpha / rank
        self.P = nn.Parameter(torch.zeros(out_features, rank))

    def shared_as(self) -> str | None:
        """Return the name of the generated A."""
        return self.key

    def factor(self, x: Tensor, state: BatchState | None) -> Tensor | None:
        """Return the batch's A (B, in, R), or None if the batch has no pairs.

        Raises:
            ValueError: the batch's numbers of pairs and samples differ.
        """
        if state is None or self.key not in state.generated:
            return None
        factor = state.generated[self.key].to(x.dtype)
        if factor.shape[0] != x.shape[0]:
            raise ValueError(f"factors of {factor.shape[0]} pairs were given for {x.shape[0]} samples")
        return factor

    def finished(self, product: Tensor, state: BatchState | None) -> Tensor:
        """Return u (B, T, R), zero at tokens where, according to the state, generated factors do not act.

        Raises:
            ValueError: the batch's tokens do not match the state's.
        """
        return product if state is None else state.confined(product)
