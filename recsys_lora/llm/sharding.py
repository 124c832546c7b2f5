"""Shards a frozen backbone's decoder blocks over the devices of a job, so that no device has to hold them all.

PyTorch's FSDP2 (`torch.distributed.fsdp.fully_shard`; Zhao et al., 2023, arXiv 2304.11277) leaves each process one
shard of every weight of a block; the shards are gathered for the block's forward, and again for its backward.
Embeddings, final norm and head stay whole, as methods read them outside of any forward. Trained parameters are outside
of the model (see `lowrank/inject.py`) and not affected.
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
    """Shard a backbone's blocks, in place, over the processes of the default group; all of them must call this.

    Args:
        backbone: whole and not quantised, in host memory, the same on every process.
        device: this process's device, for its shards and everything else; blocks are moved there one by one.
        world: the number of processes.

    Raises:
        UserError: the backbone has no blocks, or this version of PyTorch does not support it.
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
    fully_shard(body, mesh=mesh, ignored_params=whole)  # makes one tree of the blocks: the next is prefetched
    backbone.to(device)
    backbone.sharded = True
    # Outside of inference mode: what FSDP2 allocates in the first forward is used by later ones that need gradients.
    check_backbone(backbone)
    return backbone


def is_shard(parameter: nn.Parameter) -> bool:
    """Return whether a parameter is one process's shard of a weight."""
    return isinstance(parameter.data, DTensor)
