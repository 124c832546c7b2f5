"""A frozen state: the same outputs, no gradient to the learned factors, and all others as they were."""

import pytest
import torch
from torch import nn

from recsys_lora.lowrank import Generated, Injection, Routed, Static, inject
from tests.lowrank.families import ATTENTION, assert_same, checkpointed, randomise, tiny, weigh
from tests.rounding import assert_close

R, B, T = 3, 4, 7
TASK = torch.tensor([1, 0, 1, 2])


def setting(checkpointing: bool = False, generated: bool = False) -> tuple[nn.Module, Injection]:
    model = tiny("llama")
    if checkpointing:
        checkpointed(model)

    def sources(site):
        shape = (site.in_features, site.out_features, R, 6.0)
        made = [Static(*shape), Routed(*shape, tasks=3)]
        return [*made, Generated("32", *shape)] if generated else made

    injection = inject(model, ATTENTION, sources)
    torch.manual_seed(3)
    randomise(injection)
    return model, injection


def embeddings(seed: int) -> torch.Tensor:
    return torch.randn(B, T, 32, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def forward(model: nn.Module, embeds: torch.Tensor) -> torch.Tensor:
    hidden = model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
    return weigh(hidden)


def gradients(injection: Injection) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in injection.parameters()]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_frozen_factors_act_and_get_no_gradient(checkpointing):
    model, injection = setting(checkpointing)
    values, flows = [], []
    for frozen in (False, True):
        injection.zero_grad(set_to_none=True)
        embeds = embeddings(0)
        injection.state.set(task=TASK, frozen=frozen)
        loss = forward(model, embeds)
        loss.backward()
        values.append(loss.detach())
        flows.append(embeds.grad)
        assert all((gradient is None) == frozen for gradient in gradients(injection))
    assert_close(*values)
    assert_close(*flows)
    assert flows[0].abs().max() > 0


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_beside_a_frozen_forward_the_other_gets_the_gradients_it_gets_alone(checkpointing, order):
    model, injection = setting(checkpointing)
    injection.state.set(task=TASK)
    forward(model, embeddings(0)).backward()
    alone = gradients(injection)
    injection.zero_grad(set_to_none=True)

    losses, frozen_embeds = [], embeddings(1)
    for frozen in order:
        injection.state.set(task=TASK.flip(0) if frozen else TASK, frozen=frozen)
        losses.append(forward(model, frozen_embeds if frozen else embeddings(0)))
    (losses[0] + losses[1]).backward()
    assert_same(gradients(injection), alone)
    together = frozen_embeds.grad

    embeds = embeddings(1)
    injection.state.set(task=TASK.flip(0))
    forward(model, embeds).backward()
    assert_close(together, embeds.grad)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_generated_factors_still_get_theirs(checkpointing):
    model, injection = setting(checkpointing, generated=True)
    flows = []
    for frozen in (False, True):
        injection.zero_grad(set_to_none=True)
        factor = torch.randn(B, 32, R, generator=torch.Generator().manual_seed(5)).requires_grad_()
        injection.state.set({"32": factor}, TASK, frozen=frozen)
        forward(model, embeddings(0)).backward()
        flows.append(factor.grad)
    assert all(gradient is None for gradient in gradients(injection))
    assert_close(*flows)
    assert flows[0].abs().max() > 0
