"""Low-rank projections of layers with the same input, computed together.

Query, key and value read the same x, and so do gate and up. A product dropout(x) A that several of them share is
computed once; those with different A's become one product, dropout(x) [A_1, A_2, ...]: x is read once, by one kernel.
"""

import threading
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import dropout as element_dropout

from recsys_lora.lowrank.source import DropoutPer, Source
from recsys_lora.lowrank.state import BatchState

Update = tuple[float, Tensor, Tensor]
"""A source's scale, u (B, T, R) and P^T, (R, out) or (B, R, out)."""
_SHARED_INPUTS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("query", "key", "value"), ("w1", "w3"))
"""Names of linear layers of one module that have the same input."""


def input_group(name: str) -> str:
    """Return a key that is equal for all linear layers that may have the same input as the one at `name`."""
    parent, _, target = name.rpartition(".")
    others = next((names for names in _SHARED_INPUTS if target in names), (target,))
    return f"{parent}.{others[0]}"


class ProjectionCache(threading.local):
    """Products that a thread's layers have not used yet; empty in a new thread, and in a copy.

    Attributes:
        x: their input; None if there are none.
        version: the version of that tensor, which counts in-place writes.
        state: the batch's state.
        left: the unused updates, by the index of their layer.
    """

    def __init__(self) -> None:  # once per thread; compiled code cannot read class-only attributes
        self.x: Tensor | None = None
        self.version = 0
        self.state: BatchState | None = None
        self.left: dict[int, list[Update]] | None = None

    def __reduce__(self) -> tuple[type["ProjectionCache"], tuple[()]]:
        return ProjectionCache, ()


class SharedInput:
    """Layers that may have the same input: the first one called computes the projections of all.

    Only layers called with the very same tensor share, so a wrong guess costs time but changes nothing. Each result is
    used once: a second or recomputed forward pass computes its own.
    """

    def __init__(self) -> None:
        self.sources: list[Sequence[Source]] = []
        self.cache = ProjectionCache()

    def join(self, sources: Sequence[Source]) -> int:
        """Add a layer and return its number."""
        self.sources.append(sources)
        return len(self.sources) - 1

    def updates(self, number: int, x: Tensor, state: BatchState | None) -> list[Update]:
        """Return the updates of layer `number` for its input x (B, T, in)."""
        if len(self.sources) == 1:
            return project(self.sources, x, state)[0]
        cache = self.cache
        left = cache.left if cache.x is x and cache.state is state and cache.version == version(x) else None
        if left is None or number not in left:
            left = dict(enumerate(project(self.sources, x, state)))
            cache.x = x
            cache.state = state
            cache.version = version(x)
            cache.left = left
        mine = left.pop(number)
        if not left:
            cache.x = cache.state = cache.left = None
        return mine


def version(x: Tensor) -> int:
    """Return how often x was written to, if known; compiled code and inference mode never write to an input."""
    return 0 if torch.compiler.is_compiling() or x.is_inference() else x._version


def project(layers: Sequence[Sequence[Source]], x: Tensor, state: BatchState | None) -> list[list[Update]]:
    """Return the updates of each of several layers that read x (B, T, in).

    Args:
        layers: each layer's sources; a source with nothing to add is left out of its layer's updates.
        x: the input.
        state: the batch's state.
    """
    places: dict[str | tuple[int, int], Source] = {}  # of each distinct A, the first source that has it
    names: list[list[str | tuple[int, int]]] = []
    for i, sources in enumerate(layers):
        names.append([])
        for j, source in enumerate(sources):
            name = source.shared_as() or (i, j)
            names[i].append(name)
            if name not in places:
                places[name] = source
    made = _products(places, x, state)
    updates: list[list[Update]] = []
    for i, sources in enumerate(layers):
        updates.append([])
        for name, source in zip(names[i], sources, strict=True):
            if name in made:
                updates[i].append((source.scale, made[name], source.output(x.dtype, state)))
    return updates


def _products(
    sources: dict[str | tuple[int, int], Source], x: Tensor, state: BatchState | None
) -> dict[str | tuple[int, int], Tensor]:
    """Return u (B, T, R) of each source that has something to add."""
    factors = {}
    joint: dict[tuple[object, ...], list[str | tuple[int, int]]] = {}  # those that one product can compute
    for name, source in sources.items():
        factor = source.factor(x, state)
        if factor is None:
            continue
        factors[name] = factor
        rate = source.dropout if source.training else 0.0
        alone = name if rate and source.dropout_per == "token" else None  # each has its own mask of x
        alike = (source.rank, rate, source.dropout_per, alone, factor.dim() if rate == 0.0 else 3)
        if alike not in joint:
            joint[alike] = []
        joint[alike].append(name)
    made = {}
    for members in joint.values():
        first = sources[members[0]]
        rate = first.dropout if first.training else 0.0
        products = _masked_products(x, [factors[name] for name in members], rate, first.dropout_per)
        for name, product in zip(members, products, strict=True):
            made[name] = sources[name].finished(product, state)
    return made


def _masked_products(x: Tensor, factors: Sequence[Tensor], rate: float, per: DropoutPer) -> Sequence[Tensor]:
    """Return dropout(x) A, (B, T, R), for each of several A's, from one product.

    Args:
        x: (B, T, in).
        factors: each A, (in, R) or (B, in, R), in x's dtype; of one rank.
        rate: share of features to drop; 0 outside training.
        per: see `source.py`; each A has its own mask, so `token` takes only one A.
    """
    if rate and per == "token":
        x = element_dropout(x, rate)
    if any(factor.dim() == 3 for factor in factors):
        factors = [factor.expand(x.shape[0], -1, -1) for factor in factors]
    joint = torch.stack(list(factors), -2) if len(factors) > 1 else factors[0].unsqueeze(-2)  # (..., in, n, R)
    if rate and per == "sample":
        keep = torch.empty(x.shape[0], x.shape[-1], len(factors), 1, device=x.device, dtype=x.dtype)
        joint = joint * keep.bernoulli_(1 - rate).div_(1 - rate)  # (B, in, n, R)
    joint = joint.flatten(-2)
    product = torch.bmm(x, joint) if joint.dim() == 3 else x @ joint  # (B, T, n R)
    return product.view(*x.shape[:2], len(factors), -1).unbind(-2) if len(factors) > 1 else [product]
