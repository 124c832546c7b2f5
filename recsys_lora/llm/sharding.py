"""A frozen backbone's decoder blocks, spread over the devices of a job, so that no device has to hold them all.

PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`; Zhao et al., 2023, arXiv 2304.11277) leaves each process one
share of every weight of a block; the shares come together for the forward of the block, and again for its backward.
Embeddings, final norm and head stay whole everywhere, as methods read them outside of any forward. What is trained
stands outside of the model (see `lowrank/inject.py`) and is no part of this.
"""

import inspect

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.compiling import decoder_blocks
from recsys_lora.llm.probe import check_backbone
from recsys_lora.utils.errors import UserError


def shard(backbone: Backbone, device: torch.device, world: int) -> Backbone:
    """Spread a backbone's blocks, in place, over the processes of the default group; all of them have to call this.

    Args:
        backbone: whole and not quantised, in host memory, the same on every process.
        device: this process's, where its shares and all else go; blocks go there one after the other.
        world: the number of processes.

    Raises:
        UserError: it has no blocks, or this PyTorch cannot do it.
    """
    from torch.distributed.fsdp import fully_shard

    if "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise UserError(
            f"trainer=fsdp: PyTorch {torch.__version__} cannot spread a part of a model: install a newer one"
        )
    body, blocks = backbone.model.base_model, decoder_blocks(backbone.model)
    if not blocks:
        raise UserError(f"trainer=fsdp: {type(backbone.model).__name__} keeps no list of blocks: choose trainer=ddp")
    mesh = init_device_mesh(device.type, (world,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    whole = {parameter for parameter in body.parameters() if not is_shard(parameter)}
    fully_shard(body, mesh=mesh, ignored_params=whole)  # makes one tree of the blocks: the next is fetched ahead
    backbone.to(device)
    backbone.sharded = True
    # Outside of inference mode: what FSDP2 allocates in the first forward is used by later ones that need gradients.
    check_backbone(backbone)
    return backbone


def is_shard(parameter: nn.Parameter) -> bool:
    """Return whether a parameter is one process's share of a weight."""
    return isinstance(parameter.data, DTensor)
