"""Decoder blocks compiled by `torch.compile`: what stands between the matrix products becomes few fused loops.

The blocks have the same code, so one compilation serves all of them; low-rank layers that are put in later are part
of it, for a block is compiled when it first runs. Sizes are symbols: batches of other shapes run the same code. Each
of training, scoring and the model without low-rank layers is compiled once, for some ten seconds each.

`reduce-overhead` is torch's mode that records what a block launches as CUDA graphs and replays them: the host then
launches one graph a block instead of every kernel. A graph is of one shape, so prompts are filled up to multiples of
`LENGTH_BUCKET` tokens. Memory of one step's graphs is used again by the next, which therefore has to be announced.
"""

import os
import shutil
from typing import Any, Literal

import torch
from torch import nn

from recsys_lora.utils.errors import UserError

LENGTH_BUCKET = 32
"""Tokens to whose multiples prompts are filled up where graphs are recorded: few shapes for prompts of any length."""


def decoder_blocks(model: Any) -> list[nn.Module]:
    """Return the decoder blocks of a causal language model: the elements of its body's `ModuleList`s."""
    body = model.base_model
    return [block for part in body.children() if isinstance(part, nn.ModuleList) for block in part]


def compile_blocks(model: Any, device: torch.device | str, kind: bool | Literal["reduce-overhead"] = True) -> None:
    """Compile a model's decoder blocks, in place, each when it first runs.

    Args:
        model: a causal language model as transformers loads it.
        device: where it is to run.
        kind: `reduce-overhead` records CUDA graphs, too; on other devices it is the same as true.

    Raises:
        UserError: it keeps no list of blocks, or a CPU's C++ compiler is missing.
    """
    compiler = os.environ.get("CXX", "g++")
    if torch.device(device).type == "cpu" and shutil.which(compiler) is None:
        raise UserError(f"llm.compiled=true: on a CPU it needs a C++ compiler, and {compiler} is not here: install it")
    blocks = decoder_blocks(model)
    if not blocks:
        raise UserError(f"llm.compiled=true: {type(model).__name__} keeps no list of blocks: set it to false")
    for block in blocks:
        block.compile(dynamic=True, mode=kind if isinstance(kind, str) else None)
