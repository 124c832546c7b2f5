"""Attention with a fast backward gives what torch's own gives, values and gradients."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.masking_utils import sdpa_mask

from recsys_lora.llm import attention
from recsys_lora.llm.attention import LIMIT, NAME, attend_to_prompts, prompt_attention, short_attention
from recsys_lora.llm.tiny import TinySource
from tests.llm.test_backbone import backbone_of
from tests.lowrank.families import FAMILIES, tiny
from tests.rounding import SUM, assert_close

B, HEADS, GROUPS, T, D = 2, 6, 2, 9, 8


class Layer(torch.nn.Module):
    num_key_value_groups = HEADS // GROUPS
    is_causal = True


def inputs(tokens: int = T, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(B, heads, tokens, D, dtype=dtype).requires_grad_() for heads in (HEADS, GROUPS, GROUPS)]


def masks(padding: str) -> torch.Tensor | None:
    """Return (B, 1, T, T) as transformers makes it; the second row is padded on one side."""
    if padding == "none":
        return None
    real = torch.ones(B, T, dtype=torch.bool)
    real[1, 5:] = False
    if padding == "left":
        real = real.flip(1)
    return torch.ones(T, T, dtype=torch.bool).tril() & real[:, None, None, :]


@pytest.mark.parametrize("padding", ["none", "right", "left"])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_values_and_gradients_are_those_of_torch(padding, scaling):
    q, k, v = inputs()
    mask = masks(padding)
    ours, none = short_attention(Layer(), q, k, v, mask, scaling=scaling)
    wide = [x.repeat_interleave(HEADS // GROUPS, 1) for x in (k, v)]
    theirs = scaled_dot_product_attention(q, *wide, attn_mask=mask, is_causal=mask is None, scale=scaling)
    assert none is None
    assert type(ours.grad_fn.next_functions[0][0].next_functions[0][0]).__name__ == "_AttentionBackward"
    assert_close(ours, theirs.transpose(1, 2), SUM, dtype=torch.float64)
    seen = torch.randn_like(theirs)
    if mask is not None:
        seen *= mask.any(-1, keepdim=True)  # no loss reads the state of a token that sees nothing
    mine = torch.autograd.grad(ours, (q, k, v), seen.transpose(1, 2))
    for one, other in zip(mine, torch.autograd.grad(theirs, (q, k, v), seen), strict=True):
        assert_close(one, other, SUM)  # probabilities are float32


def test_long_prompts_scoring_and_continuations_are_the_kernel_s(monkeypatch):
    def refuse(*_):
        raise AssertionError("the other backward was taken")

    monkeypatch.setattr(attention._Attention, "apply", refuse)
    short_attention(Layer(), *inputs(LIMIT), None)
    q, k, v = inputs()
    with torch.no_grad():
        short_attention(Layer(), q, k, v, None)
    short_attention(Layer(), q[:, :, -2:], k, v, torch.ones(B, 1, 2, T, dtype=torch.bool))
    short_attention(Layer(), q, k, v, torch.zeros(B, 1, T, T, dtype=q.dtype))
    with pytest.raises(AssertionError, match="other backward"):
        short_attention(Layer(), q, k, v, None)


@pytest.mark.parametrize(("knob", "taken"), [("auto", NAME), ("sdpa", "sdpa"), ("eager", "eager")])
def test_it_is_chosen_unless_another_is_asked_for(knob, taken):
    backbone = TinySource(attention=knob).load(["a title"], "cpu")
    assert backbone.model.config._attn_implementation == taken


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_backward_for_short_prompts_is_for_bfloat16_on_a_cpu(monkeypatch, dtype):
    taken = []
    monkeypatch.setattr(attention, "short_attention", lambda *_, **__: taken.append("short") or (None, None))
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *_, **__: taken.append("kernel") or (None, None))
    prompt_attention(Layer(), *inputs(dtype=dtype), None)
    assert taken == ["short" if dtype == torch.bfloat16 else "kernel"]


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_the_right_needs_no_mask(family, monkeypatch):
    """The states of real tokens are the same without one; in Gemma beyond its window too."""
    model = tiny(family)
    attend_to_prompts(model)
    backbone = backbone_of(model)
    torch.manual_seed(0)
    embeds = torch.randn(3, 14, 32)
    mask = torch.arange(14) < torch.tensor([[14], [3], [9]])
    masks = []
    monkeypatch.setattr(
        attention, "sdpa_mask", lambda **more: masks.append(more["attention_mask"]) or sdpa_mask(**more)
    )
    with torch.no_grad():
        states = [backbone.hidden(embeds, mask, right)[mask] for right in (False, True)]
    assert masks
    assert masks[len(masks) // 2 :] == [None] * (len(masks) // 2)
    assert all(given is not None for given in masks[: len(masks) // 2])
    assert_close(states[1], states[0])


def test_a_model_that_does_not_use_the_kernel_keeps_its_own():
    config = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config).bfloat16()
    attend_to_prompts(model)
    assert model.config._attn_implementation == "eager"


def test_a_whole_model_has_the_kernel_s_gradients_up_to_bfloat16():
    found = []
    for knob in ("auto", "sdpa"):
        backbone = TinySource(dtype="bfloat16", attention=knob).load(["a title"], "cpu")
        torch.manual_seed(0)
        embeds = torch.randn(B, T, backbone.hidden_size, dtype=torch.bfloat16).requires_grad_()
        mask = torch.ones(B, T, dtype=torch.bool)
        mask[1, 6:] = False
        hidden = backbone.hidden(embeds, mask)
        (hidden * mask[..., None]).sum().backward()
        found.append((hidden.detach(), embeds.grad))
    assert torch.equal(found[0][0], found[1][0])
    size = found[1][1].abs().max()
    assert (found[0][1] - found[1][1]).abs().max() < 0.03 * size
