"""Attention for prompts: no mask if none is needed, and a backward pass that is fast for short prompts on a CPU.

Right padding comes after every token that is read, so causal attention never sees it, and no mask is needed.
transformers would inspect the mask to find out, which makes the host wait for the device, and a mask keeps torch from
using its fastest kernels.

In bfloat16 on a CPU, torch's fused kernel (torch 2.13) has a fast forward and a slow backward: below some 190 tokens,
the backward takes longer than plain matrix products. Here the forward is the kernel's, and the backward recomputes the
probabilities (FlashAttention, Dao et al., 2022, arXiv 2205.14135, section 3.1):

    P = softmax(s Q K^T),  dV = P^T dO,  dS = P * (dO V^T - rowsum(dO * O)),  dQ = s dS K,  dK = s dS^T Q

Only q, k, v, the output and the mask are saved for it, as in the kernel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "prompts"
"""The name of this attention in transformers."""
LIMIT = 192
"""Number of tokens from which the kernel's own backward is faster."""


_padded_right: ContextVar[bool] = ContextVar("padded_right", default=False)


def attend_to_prompts(model: Any) -> None:
    """Make a model that uses torch's attention kernel use this module's attention.

    Args:
        model: a model as loaded by transformers; those with another attention are left unchanged.
    """
    if model.config.get_text_config()._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, prompt_attention)
        AttentionMaskInterface.register(NAME, _prompt_mask)
        model.set_attn_implementation(NAME)


@contextmanager
def padded_right(known: bool) -> Iterator[None]:
    """Set whether all padding is known to be on the right, for the forwards run inside."""
    token = _padded_right.set(known)
    try:
        yield
    finally:
        _padded_right.reset(token)


def _prompt_mask(*, attention_mask: Tensor | None = None, device: torch.device | str = "cpu", **more: Any) -> Any:
    """Return one forward's mask as made by `sdpa_mask` of transformers, without reading device memory.

    Args:
        attention_mask: (B, S), true at real tokens.
        device: where the mask is needed.
        more: the other arguments that transformers passes.

    Returns:
        (B, 1, T, S), true where a query sees a key; None for all earlier keys.
    """
    if _padded_right.get():
        attention_mask = None
    elif torch.device(device).type != "cpu":
        more["allow_is_causal_skip"] = False
    return sdpa_mask(attention_mask=attention_mask, device=device, **more)


def short_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attend, with the interface of transformers.

    Args:
        module: the attention layer.
        query: (B, heads, T, d).
        key: (B, key-value heads, S, d).
        value: (B, key-value heads, S, d).
        attention_mask: (B, 1, T, S), true where a query sees a key; None for all earlier keys.
        dropout: share of the probabilities to drop.
        scaling: factor of the products; None for one over the root of d.
        more: other arguments of the kernel.

    Returns:
        (B, T, heads, d), and no probabilities.
    """
    tokens = query.shape[2]
    seen = attention_mask is None or attention_mask.dtype == torch.bool
    plain = dropout == 0.0 and seen and more.get("position_bias") is None and more.get("is_causal") is not False
    if plain and torch.is_grad_enabled() and 1 < tokens == key.shape[2] < LIMIT and query.requires_grad:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        attended = _Attention.apply(query, key, value, attention_mask, scale)  # type: ignore[no-untyped-call]
        return attended.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **more)


def prompt_attention(module: torch.nn.Module, query: Tensor, *args: Any, **more: Any) -> tuple[Tensor, None]:
    """Attend with the kernel, or with `short_attention` where the kernel's own backward is slow; same arguments."""
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
    attend = short_attention if slow else sdpa_attention_forward
    return attend(module, query, *args, **more)


class _Attention(torch.autograd.Function):
    """The kernel's forward and the module docstring's backward; a key-value head serves a group of query heads."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
        )
        ctx.save_for_backward(query, key, value, mask, output)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, output = ctx.saved_tensors
        B, groups, T, d = key.shape
        q, do, o = (x.reshape(B * groups, -1, d) for x in (query, grad, output))  # (B G, heads / G · T, d)
        k, v = (x.reshape(B * groups, T, d) for x in (key, value))
        hidden = _hidden(mask, T, query.device)  # (B or 1, 1, 1, T, T)
        if mask is not None:  # a query that sees nothing has no weights
            do = do.view(B, groups, -1, T, d).masked_fill(hidden.all(-1, keepdim=True), 0.0).view_as(do)
        none = q.new_zeros(())  # what `baddbmm` adds its scaled products to
        product = torch.baddbmm(none, q, k.mT, beta=0.0, alpha=ctx.scale).view(B, groups, -1, T, T)
        lowest = max(torch.finfo(kind).min for kind in (q.dtype, torch.float32))  # that both can hold
        weights = product.masked_fill_(hidden, lowest).softmax(-1, dtype=torch.float32)
        p = weights.view(B * groups, -1, T)
        dv = torch.bmm(p.to(v.dtype).mT, do)
        ds = torch.bmm(do, v.mT).float()
        ds = ds.sub_((do.float() * o.float()).sum(-1, keepdim=True)).mul_(p).to(q.dtype)
        dq = torch.baddbmm(none, ds, k, beta=0.0, alpha=ctx.scale)
        dk = torch.baddbmm(none, ds.mT, q, beta=0.0, alpha=ctx.scale)
        return dq.view_as(query), dk.view_as(key), dv.view_as(value), None, None


def _hidden(mask: Tensor | None, tokens: int, device: torch.device) -> Tensor:
    """Return where a query does not see a key."""
    if mask is None:
        return torch.ones(tokens, tokens, dtype=torch.bool, device=device).triu(1).view(1, 1, 1, tokens, tokens)
    return ~mask[:, :, None]
