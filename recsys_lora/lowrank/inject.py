"""Add low-rank layers to a decoder, and remove them again."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn

from recsys_lora.lowrank.checkpointing import bind_state_to_blocks
from recsys_lora.lowrank.layer import LowRankLinear, linear_shape
from recsys_lora.lowrank.shared_input import SharedInput, input_group
from recsys_lora.lowrank.source import Generated, Source
from recsys_lora.lowrank.state import GeneratedShape, StateSlot
from recsys_lora.utils.errors import UserError


@dataclass(frozen=True)
class Site:
    """One linear map of a decoder.

    Attributes:
        name: path in the model, e.g. `model.layers.0.self_attn.q_proj`.
        target: the last part of its name, e.g. `q_proj`.
        block: number of its decoder block.
        in_features: width of its input.
        out_features: width of its output.
    """

    name: str
    target: str
    block: int
    in_features: int
    out_features: int


class Injection(nn.Module):
    """The low-rank layers added to one model; contains only what is trained.

    Attributes:
        model: the model they were added to (not registered: its parameters are not this module's).
        layers: path in the model -> layer.
        sites: path in the model -> the linear map there.
        state: where the next batch's factors are set.
    """

    def __init__(self, model: nn.Module, slot: StateSlot) -> None:
        super().__init__()
        self._model = (model,)  # a tuple hides it from nn.Module's registration
        self.state = slot
        self.layers: dict[str, LowRankLinear] = {}
        self.sites: dict[str, Site] = {}
        self.sources = nn.ModuleDict()
        self._readers: dict[str, SharedInput] = {}
        self._unbind = bind_state_to_blocks(model, slot)

    @property
    def model(self) -> nn.Module:
        """The model the layers are in."""
        return self._model[0]

    def add(self, site: Site, sources: Sequence[Source]) -> None:
        """Replace the linear map at `site` with a layer with these sources."""
        base = self.model.get_submodule(site.name)
        modules = nn.ModuleList(sources)
        modules.to(next(base.parameters()).device)
        for source in sources:
            if isinstance(source, Generated):
                shape = GeneratedShape(site.in_features, source.rank, source.generated_scale)
                self.state.declare(source.key, shape)
        readers = self._readers.setdefault(input_group(site.name), SharedInput())
        layer = LowRankLinear(base, sources, self.state, readers)
        self.sources[site.name.replace(".", "/")] = modules
        self.layers[site.name], self.sites[site.name] = layer, site
        self.model.set_submodule(site.name, layer)

    def remove(self) -> None:
        """Restore the model's own linear maps: it is bit for bit what it was."""
        for name, layer in self.layers.items():
            self.model.set_submodule(name, layer.base)
        self._unbind()
        self.state.clear()

    def disabled(self) -> AbstractContextManager[None]:
        """Disable the layers in this thread: the model is then bit for bit what it was, but keeps the layers."""
        return self.state.disabled()


def find_sites(model: nn.Module) -> list[Site]:
    """Return every linear map inside the decoder's blocks, in the model's order.

    A block is an element of a `ModuleList`, so the head and the embeddings are left out.
    """
    sites = []
    blocks: dict[str, int] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(name.startswith(f"{block}.") for block in blocks):
            blocks |= {f"{name}.{index}": index for index in range(len(module))}
        shape = linear_shape(module)
        number = next((blocks[block] for block in blocks if name.startswith(f"{block}.")), None) if shape else None
        if shape is not None and number is not None:
            sites.append(Site(name, name.rpartition(".")[2], number, *shape))
    return sites


def inject(model: nn.Module, targets: Sequence[str], make: Callable[[Site], Sequence[Source]]) -> Injection:
    """Add low-rank layers to `model`, in place, and freeze the rest of it.

    Args:
        model: a decoder as loaded by `transformers`.
        targets: the linear maps to adapt in every block, by the last part of their names, e.g. `q_proj`.
        make: returns a site's sources; an empty sequence leaves the site unchanged.

    Raises:
        UserError: the model has no linear map with a requested name; the message lists those it has.
        ValueError: the model has low-rank layers already (give one site several sources instead).
    """
    if any(isinstance(module, LowRankLinear) for module in model.modules()):
        raise ValueError("this model has low-rank layers already: remove them, or make several sources a site")
    sites = find_sites(model)
    available = list(dict.fromkeys(site.target for site in sites))
    if missing := [target for target in targets if target not in available]:
        raise UserError(
            f"{type(model).__name__} has no linear map named {', '.join(missing)} in its blocks: "
            f"choose targets from {', '.join(available) or 'none'}"
        )
    model.requires_grad_(False)
    floats = (p.dtype for p in model.parameters() if p.is_floating_point() and p.dtype.itemsize >= 2)  # not quantised
    injection = Injection(model, StateSlot(next(floats, torch.float32)))
    for site in sites:
        if site.target in targets and (sources := make(site)):
            injection.add(site, sources)
    return injection
