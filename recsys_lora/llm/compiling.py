"""Compiles decoder blocks with `torch.compile`: operations between matrix products become a few fused loops.

The blocks have the same code, so one compilation serves all of them; it includes low-rank layers added later, since a
block is compiled when it first runs. Sizes are symbolic: batches of other shapes run the same code. Training, scoring
and the model without low-rank layers are each compiled once, in some ten seconds.

`reduce-overhead` is torch's mode that records a block's kernels as CUDA graphs and replays them: the host then
launches one graph per block instead of every kernel. A graph has one shape, so prompts are padded to multiples of
`LENGTH_BUCKET` tokens. The memory of one step's graphs is reused by the next, which must therefore be announced.
"""

import os
import shutil
from typing import Any, Literal

import torch
from torch import nn

from recsys_lora.utils.errors import UserError

LENGTH_BUCKET = 32
"""With graphs, prompts are padded to multiples of this many tokens: few shapes for prompts of any length."""


def decoder_blocks(model: Any) -> list[nn.Module]:
    """Return the decoder blocks of a causal language model: the elements of its body's `ModuleList`s."""
    body = model.base_model
    return [block for part in body.children() if isinstance(part, nn.ModuleList) for block in part]


def compile_blocks(model: Any, device: torch.device | str, kind: bool | Literal["reduce-overhead"] = True) -> None:
    """Compile a model's decoder blocks, in place, each when it first runs.

    Args:
        model: a causal language model as loaded by transformers.
        device: the device it is to run on.
        kind: `reduce-overhead` records CUDA graphs, too; on other devices it is the same as true.

    Raises:
        UserError: the model has no list of blocks, or the CPU's C++ compiler is missing.
    """
    compiler = os.environ.get("CXX", "g++")
    if torch.device(device).type == "cpu" and shutil.which(compiler) is None:
        raise UserError(f"llm.compiled=true: on a CPU it needs a C++ compiler, and {compiler} is not here: install it")
    blocks = decoder_blocks(model)
    if not blocks:
        raise UserError(f"llm.compiled=true: {type(model).__name__} keeps no list of blocks: set it to false")
    for block in blocks:
        block.compile(dynamic=True, mode=kind if isinstance(kind, str) else None)
