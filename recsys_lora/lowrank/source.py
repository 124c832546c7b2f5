"""Where a layer's factors come from.

Every source gives, for an input x (B, T, in), the narrow product u = dropout(x) A (B, T, R) and the factor P that
takes it to the output; the layer adds `scale · u P^T`. P starts at zero, so a fresh source changes nothing.

Trainable factors are kept in float32 and cast to the input's dtype for the product. Where the batch's state is frozen,
the product is the same and no gradient reaches them.

Dropout. A mask an element of x costs more than the whole low-rank product on a CPU (at width 576, over twice the
frozen matrix product itself). `per="sample"` therefore draws, in every layer anew, which input features a sample
loses, for all its tokens at once (the mask of Gal and Ghahramani, 2016, arXiv 1512.05287): it then multiplies A,
which is a tenth as large as x or less. `per="token"` is the mask an element of x.
"""

import math
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as element_dropout

from recsys_lora.lowrank.state import BatchState

DropoutPer = Literal["sample", "token"]


@runtime_checkable
class Source(Protocol):
    """What a `LowRankLinear` asks of a source, which is an `nn.Module`."""

    rank: int
    scale: float
    """Applied by the layer to `u P^T`."""

    def project(self, x: Tensor, state: BatchState | None) -> tuple[Tensor, Tensor] | None:
        """Return u (B, T, R) and P, (out, R) or (B, out, R), in x's dtype; None where there is nothing to add."""
        ...


def masked_product(x: Tensor, factor: Tensor, rate: float, per: DropoutPer) -> Tensor:
    """Return dropout(x) A.

    Args:
        x: (B, T, in).
        factor: A, (in, R) or (B, in, R), in x's dtype.
        rate: share of features to drop; 0 outside training.
        per: see the module's text.
    """
    if rate and per == "token":
        x = element_dropout(x, rate)
    elif rate:
        keep = torch.empty(x.shape[0], x.shape[-1], 1, device=x.device, dtype=x.dtype)  # (B, in, 1)
        factor = factor * keep.bernoulli_(1 - rate).div_(1 - rate)  # (B, in, R)
    return torch.bmm(x, factor) if factor.dim() == 3 else x @ factor  # (B, T, R)


def learned(factor: Tensor, x: Tensor, state: BatchState | None) -> Tensor:
    """Return a learned factor in x's dtype, out of reach of gradients where the state is frozen."""
    return (factor.detach() if state is not None and state.frozen else factor).to(x.dtype)


class Static(nn.Module):
    """One A and one P, learned: LoRA (Hu et al., 2021, arXiv 2106.09685).

    Args:
        in_features: width of the layer's input.
        out_features: width of its output.
        rank: R.
        alpha: the update is scaled by alpha / R.
        dropout: share of the input features dropped in training.
        dropout_per: see the module's text.
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
        super().__init__()
        self.rank, self.scale, self.dropout, self.dropout_per = rank, alpha / rank, dropout, dropout_per
        self.A = nn.Parameter(torch.empty(in_features, rank))
        self.P = nn.Parameter(torch.zeros(out_features, rank))
        nn.init.kaiming_uniform_(self.A.T, a=math.sqrt(5))  # fan-in is in_features, as in LoRA and peft

    def project(self, x: Tensor, state: BatchState | None) -> tuple[Tensor, Tensor]:
        """Return u (B, T, R) and P (out, R); without a state, too."""
        rate = self.dropout if self.training else 0.0
        return masked_product(x, learned(self.A, x, state), rate, self.dropout_per), learned(self.P, x, state)


class Shifted(Static):
    """LoRA with vectors of the batch added inside the bottleneck: u = dropout(x) A + s (GraphLoRA, arXiv 2606.07526).

    s is the state's `shift` at the tokens it names and zero at all others. The arguments are those of `Static`, and so
    are the parameters' names: what was trained as LoRA can be taken over.
    """

    def project(self, x: Tensor, state: BatchState | None) -> tuple[Tensor, Tensor]:
        """Return u (B, T, R) and P (out, R).

        Raises:
            ValueError: the state has no shift, or one of another width or number of samples.
        """
        if state is None or state.shift is None:
            raise ValueError("a shifted source needs its vectors: call state.set(shift=...) before the forward")
        u, factor = super().project(x, state)
        return state.shift.added_to(u), factor


class Routed(nn.Module):
    """One A and one P for each of several tasks; every sample passes its own task's (CKF's Multi-LoRA).

    A batch may mix tasks: factors are gathered a sample, and both products are batched. A task without a sample in
    the batch gets a gradient of exactly zero.

    Args:
        in_features: width of the layer's input.
        out_features: width of its output.
        rank: R of each task.
        alpha: the update is scaled by alpha / R.
        tasks: number of tasks.
        dropout: share of the input features dropped in training.
        dropout_per: see the module's text.
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
        super().__init__()
        self.rank, self.scale, self.dropout, self.dropout_per = rank, alpha / rank, dropout, dropout_per
        self.A = nn.Parameter(torch.empty(tasks, in_features, rank))
        self.P = nn.Parameter(torch.zeros(tasks, out_features, rank))
        for factor in self.A.data:
            nn.init.kaiming_uniform_(factor.T, a=math.sqrt(5))

    def project(self, x: Tensor, state: BatchState | None) -> tuple[Tensor, Tensor]:
        """Return u (B, T, R) and each sample's P (B, out, R).

        Raises:
            ValueError: the state names no task for each sample.
        """
        if state is None or state.task is None:
            raise ValueError("a routed source needs each sample's task: call state.set(task=...) before the forward")
        if state.task.shape != x.shape[:1]:
            raise ValueError(f"{len(state.task)} tasks were given for a batch of {x.shape[0]} samples")
        rate = self.dropout if self.training else 0.0
        own = learned(self.A, x, state).index_select(0, state.task)  # (B, in, R)
        return masked_product(x, own, rate, self.dropout_per), learned(self.P, x, state).index_select(0, state.task)


class Generated(nn.Module):
    """A made for every sample by a network and read from the batch's state; P learned (CoRA).

    Sources with the same `key` share one A (B, in, R). The factor alpha / R is in that A already, multiplied once a
    batch, so `scale` is 1 here. Where the state names tokens (`acts_at`), u is zero at all others: they pass the frozen
    map alone.

    Args:
        key: name of the generated A that this layer reads.
        in_features: width of the layer's input.
        out_features: width of its output.
        rank: R.
        alpha: the update is scaled by alpha / R.
        dropout: share of the input features dropped in training.
        dropout_per: see the module's text.
    """

    scale = 1.0

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
        super().__init__()
        self.key, self.rank, self.in_features = key, rank, in_features
        self.generated_scale = alpha / rank
        self.dropout, self.dropout_per = dropout, dropout_per
        self.P = nn.Parameter(torch.zeros(out_features, rank))

    def project(self, x: Tensor, state: BatchState | None) -> tuple[Tensor, Tensor] | None:
        """Return u (B, T, R) and P (out, R), or None where the batch has no pairs.

        Raises:
            ValueError: the batch has another number of pairs than of samples, or other tokens than the state names.
        """
        if state is None or self.key not in state.generated:
            return None
        rate = self.dropout if self.training else 0.0
        product = state.remembered(x, self.key, rate > 0)
        if product is None:
            factor = state.generated[self.key].to(x.dtype)  # (B, in, R)
            if factor.shape[0] != x.shape[0]:
                raise ValueError(f"factors of {factor.shape[0]} pairs were given for {x.shape[0]} samples")
            product = state.confined(masked_product(x, factor, rate, self.dropout_per))
            state.remember(x, self.key, rate > 0, product)
        return product, learned(self.P, x, state)
