"""Gradient checkpointing gives the gradients of the plain backward, whatever happens in between."""

import pytest
import torch
from torch import nn

from recsys_lora.lowrank import Generated, Injection, inject
from tests.lowrank.families import ATTENTION, tiny
from tests.rounding import assert_close

R, D, B, T = 3, 6, 4, 9


class Setting:
    """A tiny decoder whose factors a linear map makes of vectors."""

    def __init__(self, reentrant: bool | None, dropout: float = 0.0) -> None:
        self.model = tiny("llama")
        if reentrant is not None:
            enable = getattr(self.model, "activation_checkpointing_enable", self.model.gradient_checkpointing_enable)
            enable({"use_reentrant": reentrant})
            for module in self.model.modules():
                module.training = getattr(module, "gradient_checkpointing", False)
        self.injection: Injection = inject(
            self.model, ATTENTION, lambda s: [Generated("32", s.in_features, s.out_features, R, 6.0, dropout)]
        )
        torch.manual_seed(3)
        self.generator = nn.Linear(D, 32 * R)
        for parameter in self.injection.parameters():
            nn.init.normal_(parameter, std=0.3)

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


def weigh(hidden: torch.Tensor) -> torch.Tensor:
    """A loss that feels every entry (the mean square would not, behind a norm)."""
    return (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).mean()


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> None:
    for a, b in zip(left, right, strict=True):
        assert_close(a, b)
        assert b.abs().max() > 0


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("reentrant", [False, True])
def test_same_gradients_as_without(reentrant: bool, dropout: float) -> None:
    plain, checkpointed = Setting(None, dropout), Setting(reentrant, dropout)
    for setting in (plain, checkpointed):
        torch.manual_seed(11)
        setting.forward(0).backward()
    same(checkpointed.gradients(), plain.gradients())


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_later_forward_does_not_disturb_an_earlier_backward(reentrant: bool) -> None:
    plain, checkpointed = Setting(None), Setting(reentrant)
    (plain.forward(0) + 2 * plain.forward(1)).backward()
    first, second = checkpointed.forward(0), checkpointed.forward(1)
    first.backward()
    (2 * second).backward()
    same(checkpointed.gradients(), plain.gradients())

    for setting in (plain, checkpointed):
        setting.generator.zero_grad()
        setting.injection.zero_grad()
    (plain.forward(2) + plain.forward(3)).backward()
    (checkpointed.forward(2) + checkpointed.forward(3)).backward()
    same(checkpointed.gradients(), plain.gradients())


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pair_cleared_before_the_backward_is_still_the_forward_s(reentrant: bool) -> None:
    plain, checkpointed = Setting(None), Setting(reentrant)
    plain.forward(0).backward()
    loss = checkpointed.forward(0)
    checkpointed.injection.state.clear()
    loss.backward()
    same(checkpointed.gradients(), plain.gradients())


def test_two_forwards_on_the_same_factors() -> None:
    plain, checkpointed = Setting(None), Setting(True)
    for setting in (plain, checkpointed):
        ids = torch.arange(B * T).view(B, T) % 97
        setting.injection.state.set({"32": setting.generator(torch.ones(B, D)).view(B, 32, R)})
        embeds = setting.model.get_input_embeddings()(ids)
        outs = [
            setting.model.base_model(inputs_embeds=e, use_cache=False)[0].square().mean() for e in (embeds, -embeds)
        ]
        (weigh(outs[0]) + weigh(outs[1])).backward()
    same(checkpointed.gradients(), plain.gradients())


def test_autograd_grad_is_refused_rather_than_wrong() -> None:
    checkpointed = Setting(True)
    with pytest.raises(RuntimeError, match="backward"):
        torch.autograd.grad(checkpointed.forward(0), list(checkpointed.generator.parameters()))
