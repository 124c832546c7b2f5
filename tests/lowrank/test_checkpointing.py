"""Gradient checkpointing gives the gradients of the plain backward, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from recsys_lora.lowrank import Generated, Injection, inject
from tests.lowrank.families import ATTENTION, assert_same, checkpointed, randomise, tiny, weigh

R, D, B, T = 3, 6, 4, 9


class Setting:
    """A tiny decoder whose factors a linear map makes of vectors."""

    def __init__(self, with_checkpoints: bool, dropout: float = 0.0) -> None:
        self.model = tiny("llama")
        if with_checkpoints:
            checkpointed(self.model)
        self.injection: Injection = inject(
            self.model, ATTENTION, lambda s: [Generated("32", s.in_features, s.out_features, R, 6.0, dropout)]
        )
        torch.manual_seed(3)
        self.generator = nn.Linear(D, 32 * R)
        randomise(self.injection)

    def forward(self, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        vectors = torch.randn(B, D, generator=generator)
        ids = torch.randint(0, 97, (B, T), generator=generator)
        self.injection.state.set({"32": self.generator(vectors).view(B, 32, R)})
        embeds = self.model.get_input_embeddings()(ids)
        hidden: torch.Tensor = self.model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return weigh(hidden)

    def gradients(self) -> list[torch.Tensor]:
        parameters = [*self.generator.parameters(), *self.injection.parameters()]
        found = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
        assert len(found) == len(parameters)
        return found


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_same_gradients_as_without(dropout: float) -> None:
    plain, checkpointed = Setting(False, dropout), Setting(True, dropout)
    for setting in (plain, checkpointed):
        torch.manual_seed(11)
        setting.forward(0).backward()
    assert_same(checkpointed.gradients(), plain.gradients())


def test_a_later_forward_does_not_disturb_an_earlier_backward() -> None:
    plain, checkpointed = Setting(False), Setting(True)
    (plain.forward(0) + 2 * plain.forward(1)).backward()
    first, second = checkpointed.forward(0), checkpointed.forward(1)
    first.backward()
    (2 * second).backward()
    assert_same(checkpointed.gradients(), plain.gradients())

    for setting in (plain, checkpointed):
        setting.generator.zero_grad()
        setting.injection.zero_grad()
    (plain.forward(2) + plain.forward(3)).backward()
    (checkpointed.forward(2) + checkpointed.forward(3)).backward()
    assert_same(checkpointed.gradients(), plain.gradients())


def test_a_pair_cleared_before_the_backward_is_still_the_forward_s() -> None:
    plain, checkpointed = Setting(False), Setting(True)
    plain.forward(0).backward()
    loss = checkpointed.forward(0)
    checkpointed.injection.state.clear()
    loss.backward()
    assert_same(checkpointed.gradients(), plain.gradients())


def test_two_forwards_on_the_same_factors() -> None:
    plain, checkpointed = Setting(False), Setting(True)
    for setting in (plain, checkpointed):
        ids = torch.arange(B * T).view(B, T) % 97
        setting.injection.state.set({"32": setting.generator(torch.ones(B, D)).view(B, 32, R)})
        embeds = setting.model.get_input_embeddings()(ids)
        outs = [
            setting.model.base_model(inputs_embeds=e, use_cache=False)[0].square().mean() for e in (embeds, -embeds)
        ]
        (weigh(outs[0]) + weigh(outs[1])).backward()
    assert_same(checkpointed.gradients(), plain.gradients())


def test_gradients_of_chosen_tensors() -> None:
    plain, checkpointed = Setting(False), Setting(True)
    found = [torch.autograd.grad(s.forward(0), list(s.generator.parameters())) for s in (plain, checkpointed)]
    assert_same(list(found[1]), list(found[0]))


def test_the_backward_may_run_on_another_thread() -> None:
    plain, checkpointed = Setting(False), Setting(True)
    plain.forward(0).backward()
    loss = checkpointed.forward(0)
    checkpointed.forward(1)  # this thread's state is now another one, the other thread has none
    with ThreadPoolExecutor(1) as pool:
        pool.submit(loss.backward).result()
    assert_same(checkpointed.gradients(), plain.gradients())


def test_a_reentrant_checkpoint_is_refused_rather_than_wrong() -> None:
    setting = Setting(True)
    setting.model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ValueError, match="use_reentrant=False"):
        setting.forward(0)


def test_taking_the_layers_out_gives_the_model_its_checkpointing_back() -> None:
    setting = Setting(True)
    block = setting.model.base_model.layers[0]
    before = block._gradient_checkpointing_func
    setting.forward(0)
    assert block._gradient_checkpointing_func is not before
    setting.injection.remove()
    assert block._gradient_checkpointing_func is before
