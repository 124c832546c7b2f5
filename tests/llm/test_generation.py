"""Greedy decoding against a loop without cache or batch, and against the library's `generate`."""

from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from recsys_lora.llm.generation import greedy
from recsys_lora.utils.errors import UserError
from tests.llm.test_backbone import PROMPTS, backbone_of, logit_families, padded
from tests.llm.test_likelihood import conditioned
from tests.lowrank.families import FAMILIES, tiny

NEW = 12


def naive(model: Any, prompt: list[int], stop: set[int], new: int = NEW) -> list[int]:
    ids = list(prompt)
    for _ in range(new):
        token = int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in stop:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize("model", [*map(tiny, FAMILIES), *logit_families()], ids=lambda m: type(m).__name__)
@torch.no_grad()
def test_it_equals_a_naive_loop_row_by_row(model: Any) -> None:
    backbone = backbone_of(model)
    expected = [naive(model, prompt, set()) for prompt in PROMPTS]
    ids, mask = padded("left", PROMPTS)
    assert greedy(backbone, backbone.embed(ids), mask, NEW, []) == expected

    stop = {expected[0][2], expected[3][5]}
    stopped = [naive(model, prompt, stop) for prompt in PROMPTS]
    assert greedy(backbone, backbone.embed(ids), mask, NEW, stop) == stopped
    assert min(map(len, stopped)) < NEW


@torch.no_grad()
def test_it_equals_the_library_s_generate() -> None:
    model: Any = tiny("qwen2")
    backbone = backbone_of(model)
    ids, mask = padded("left", PROMPTS)
    settings = GenerationConfig(do_sample=False, max_new_tokens=NEW, pad_token_id=0)
    expected = model.generate(inputs_embeds=backbone.embed(ids), attention_mask=mask.long(), generation_config=settings)
    assert greedy(backbone, backbone.embed(ids), mask, NEW, []) == expected.tolist()


@torch.no_grad()
def test_the_model_s_own_habits_of_generation_do_not_count() -> None:
    model: Any = tiny("llama")
    expected = [naive(model, prompt, set()) for prompt in PROMPTS]
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.eos_token_id = expected[0][0]
    backbone = backbone_of(model)
    ids, mask = padded("left", PROMPTS)
    assert greedy(backbone, backbone.embed(ids), mask, NEW, []) == expected


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_each_row_passes_its_own_low_rank_weights(family: str) -> None:
    backbone = backbone_of(tiny(family))
    plain = greedy(backbone, backbone.embed(padded("left", PROMPTS)[0]), padded("left", PROMPTS)[1], NEW, [])
    injection, _ = conditioned(backbone, family)
    B = len(PROMPTS)
    factors = {key: 0.5 * torch.randn(B, s.in_features, 2) for key, s in injection.state.shapes.items()}
    expected = []
    for row, prompt in enumerate(PROMPTS):
        own = {key: factor[row : row + 1] for key, factor in factors.items()}
        injection.state.set(own, task=torch.tensor([row % 3]))
        expected.append(naive(backbone.model, prompt, set()))
    injection.state.set(factors, task=torch.arange(B) % 3)
    ids, mask = padded("left", PROMPTS)
    found = greedy(backbone, backbone.embed(ids), mask, NEW, [])
    assert found == expected
    assert found != plain


def test_a_stop_token_at_once_gives_an_empty_answer() -> None:
    backbone = backbone_of(tiny("llama"))
    ids, mask = padded("left", PROMPTS)
    assert greedy(backbone, backbone.embed(ids), mask, NEW, range(97)) == [[], [], [], []]


def test_wrong_prompts_are_refused() -> None:
    backbone = backbone_of(tiny("llama"))
    ids, mask = padded("right", PROMPTS)
    with pytest.raises(ValueError, match="on the left"):
        greedy(backbone, backbone.embed(ids), mask, NEW, [])
    ids, mask = padded("left", PROMPTS)
    with pytest.raises(UserError, match="67 tokens, a test reads 64"):
        greedy(backbone, backbone.embed(ids), mask, 60, [])
