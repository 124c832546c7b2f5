"""Log-probabilities of answers against the library's own full logits."""

from typing import Any

import pytest
import torch

from recsys_lora.llm import likelihood
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.likelihood import answer_log_probs, continuation_log_likelihood
from recsys_lora.lowrank import Generated, Injection, Routed, inject
from tests.llm.test_backbone import backbone_of, logit_families, padded
from tests.lowrank.families import FAMILIES, TARGETS, tiny
from tests.rounding import assert_close

PROMPTS = [[5, 9, 31, 7, 80, 2, 44], [61, 3, 3], [12, 8], [90, 91, 17, 60, 1]]
ANSWERS = [3, 1, 0, 4]
CONTINUATIONS = [[4, 50, 11, 3], [8], [50, 4], [1, 2, 3, 4, 5, 6, 7, 9, 10, 11]]
LONG = [5, 9, 31, 7, 80, 2, 44, 13, 15, 3, 77]  # longer than Gemma's window of 8


def brute_force(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    logits = model(torch.tensor([prompt + answer])).logits[0].float().log_softmax(-1)
    start = len(prompt)
    return sum((logits[start + j - 1, token] for j, token in enumerate(answer)), torch.tensor(0.0))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("model", [*map(tiny, FAMILIES), *logit_families()], ids=lambda m: type(m).__name__)
def test_an_answer_s_log_probability_is_the_library_s(model: Any, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "ELEMENTS_AT_ONCE", 3 * 97)  # three positions at once
    backbone = backbone_of(model)
    ids, mask = padded(side, PROMPTS)
    with torch.no_grad():
        total, count = answer_log_probs(
            backbone, backbone.hidden(backbone.embed(ids), mask), ids, mask, torch.tensor(ANSWERS)
        )
        parts = [
            (prompt[: len(prompt) - n], prompt[len(prompt) - n :]) for prompt, n in zip(PROMPTS, ANSWERS, strict=True)
        ]
        expected = torch.stack([brute_force(model, *part) for part in parts])
    assert_close(total, expected)
    assert count.tolist() == ANSWERS
    assert total.dtype == torch.float32


def test_gradients_are_those_of_the_whole_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "ELEMENTS_AT_ONCE", 3 * 97)
    backbone = backbone_of(tiny("gemma3"))
    ids, mask = padded("right", PROMPTS)
    found = []
    for whole in (False, True):
        embeds = backbone.embed(ids).detach().requires_grad_()
        if whole:
            hidden = backbone.model(inputs_embeds=embeds, attention_mask=mask.long()).logits.float().log_softmax(-1)
            ends = [len(prompt) for prompt in PROMPTS]
            total = torch.stack(
                [
                    sum((hidden[row, p - 1, ids[row, p]] for p in range(end - n, end)), torch.tensor(0.0))
                    for row, (end, n) in enumerate(zip(ends, ANSWERS, strict=True))
                ]
            )
        else:
            total = answer_log_probs(backbone, backbone.hidden(embeds, mask), ids, mask, torch.tensor(ANSWERS))[0]
        (total * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
        assert embeds.grad is not None
        found.append(embeds.grad)
    assert_close(found[0], found[1])
    assert found[0].abs().max() > 0


def test_no_tensor_of_all_positions_logits_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "ELEMENTS_AT_ONCE", 2 * 97)
    backbone = backbone_of(tiny("llama"))
    ids, mask = torch.randint(2, 97, (8, 40)), torch.ones(8, 40, dtype=torch.bool)
    hidden = backbone.hidden(backbone.embed(ids), mask).detach().requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        answer_log_probs(backbone, hidden, ids, mask, torch.full((8,), 30))
    assert max(kept) < 8 * 30 * 97 / 2  # the states are kept, the logits are not


def test_an_answer_without_a_prompt_is_refused() -> None:
    backbone = backbone_of(tiny("llama"))
    ids, mask = padded("right", PROMPTS)
    with pytest.raises(ValueError, match="before it"):
        answer_log_probs(backbone, torch.zeros(4, 7, 32), ids, mask, torch.tensor([1, 3, 0, 0]))


@pytest.mark.parametrize("model", [*map(tiny, FAMILIES), *logit_families()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("continuations", [CONTINUATIONS, [[8], [9]], [[8, 9, 4]]], ids=["many", "single", "one"])
def test_continuations_equal_brute_force(model: Any, continuations: list[list[int]]) -> None:
    backbone = backbone_of(model)
    for prompt in (LONG, [12]):
        sums, lengths = continuation_log_likelihood(backbone, backbone.embed(torch.tensor([prompt])), continuations)
        with torch.no_grad():
            expected = torch.stack([brute_force(model, prompt, answer) for answer in continuations])
        assert_close(sums, expected)
        assert lengths.tolist() == [len(answer) for answer in continuations]


def conditioned(backbone: Backbone, family: str) -> tuple[Injection, dict[str, torch.Tensor]]:
    injection = inject(
        backbone.model,
        TARGETS[family],
        lambda s: [
            Generated(str(s.in_features), s.in_features, s.out_features, 2, 4),
            Routed(s.in_features, s.out_features, 2, 4, tasks=3),
        ],
    )
    for parameter in injection.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return injection, {key: 0.3 * torch.randn(1, s.in_features, 2) for key, s in injection.state.shapes.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_continuations_pass_the_low_rank_layers_of_their_prompt(family: str) -> None:
    backbone = backbone_of(tiny(family))
    plain = continuation_log_likelihood(backbone, backbone.embed(torch.tensor([LONG])), CONTINUATIONS)[0]
    injection, factors = conditioned(backbone, family)

    def repeat(times: int) -> None:
        wide = {key: factor.expand(times, -1, -1) for key, factor in factors.items()}
        injection.state.set(wide, task=torch.full((times,), 2))

    repeat(1)
    with torch.no_grad():
        expected = torch.stack([brute_force(backbone.model, LONG, answer) for answer in CONTINUATIONS])
    embeds = backbone.embed(torch.tensor([LONG]))
    sums = continuation_log_likelihood(backbone, embeds, CONTINUATIONS, repeat)[0]
    assert_close(sums, expected)
    assert (sums - plain).abs().max() > 0.01


def test_wrong_continuations_are_refused() -> None:
    backbone = backbone_of(tiny("llama"))
    embeds = backbone.embed(torch.tensor([[3, 4]]))
    for given, continuations in ((embeds, [[3], []]), (embeds, []), (embeds.expand(2, -1, -1), [[3]])):
        with pytest.raises(ValueError, match="at least one"):
            continuation_log_likelihood(backbone, given, continuations)


def test_the_cache_says_that_checkpointing_in_training_has_none() -> None:
    backbone = backbone_of(tiny("llama"), gradient_checkpointing=True)
    embeds = backbone.embed(torch.tensor([[3, 4]]))
    with pytest.raises(ValueError, match="no cache"):
        continuation_log_likelihood(backbone, embeds, [[3, 4]])
    found = continuation_log_likelihood(backbone.train(False), embeds, [[3, 4]])[0]
    with torch.no_grad():
        assert_close(found[0], brute_force(backbone.model, [3, 4], [3, 4]))


def test_a_batch_without_answers_has_a_sum_of_zero_and_a_gradient_of_zero() -> None:
    backbone = backbone_of(tiny("llama"))
    ids, mask = padded("left", PROMPTS)
    hidden = torch.randn(4, 7, 32, requires_grad=True)
    total, _ = answer_log_probs(backbone, hidden, ids, mask, torch.zeros(4, dtype=torch.long))
    assert total.tolist() == [0, 0, 0, 0]
    total.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().max() == 0
