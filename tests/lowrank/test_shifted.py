"""Vectors added inside the bottleneck at some tokens: against a loop over tokens, and under all ways of training."""

import pytest
import torch
from torch import nn

from recsys_lora.lowrank import BottleneckShift, Generated, Injection, Shifted, Static, inject
from recsys_lora.lowrank.peft_format import export
from recsys_lora.lowrank.shared_input import project
from tests.lowrank.families import ATTENTION, FAMILIES, TARGETS, assert_same, checkpointed, randomise, tiny, weigh
from tests.rounding import SUM, assert_close

R, ALPHA, B, T, S = 3, 6.0, 4, 7, 3
POSITIONS = torch.tensor([[0, 6, -1], [2, 2, 5], [-1, -1, -1], [1, -1, 3]])  # of sample 1, two vectors share a token


def shifted(model: nn.Module, targets: tuple[str, ...], generated: bool = False) -> Injection:
    def sources(site):
        shape = site.in_features, site.out_features, R, ALPHA
        made = [Shifted(*shape)] if site.block == 1 else [Static(*shape)]
        return [*made, Generated("32", *shape)] if generated else made

    injection = inject(model, targets, sources)
    torch.manual_seed(1)
    randomise(injection)
    return injection


def vectors() -> torch.Tensor:
    return torch.randn(B, S, R, generator=torch.Generator().manual_seed(2)).requires_grad_()


def added(b: int, t: int, given: torch.Tensor) -> torch.Tensor:
    """s of one token, by hand."""
    total = torch.zeros(R)
    for place in range(S):
        if POSITIONS[b, place] == t:
            total = total + given[b, place]
    return total


def plain_with_loop(family: str, injection: Injection, given: torch.Tensor) -> nn.Module:
    """Return the original model whose linear maps add the update token by token."""
    model = tiny(family)
    for name, layer in injection.layers.items():
        source = layer.sources[0]

        def update(module, args, y, source=source):
            rows = []
            for b in range(B):
                for t in range(T):
                    s = added(b, t, given) if isinstance(source, Shifted) else torch.zeros(R)
                    rows.append(y[b, t] + ALPHA / R * source.P @ (source.A.T @ args[0][b, t] + s))
            return torch.stack(rows).view_as(y)

        model.get_submodule(name).register_forward_hook(update)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_a_loop_over_tokens(family: str) -> None:
    model, given = tiny(family), vectors()
    injection = shifted(model, TARGETS[family])
    assert {type(layer.sources[0]) for layer in injection.layers.values()} == {Shifted, Static}
    ids = torch.randint(0, 97, (B, T))
    injection.state.set(shift=BottleneckShift(given, POSITIONS))
    batched = model(ids).logits
    looped = plain_with_loop(family, injection, given)(ids).logits
    assert_close(batched, looped)
    wanted = [*injection.parameters(), given]
    gradients = torch.autograd.grad(batched.square().mean(), wanted)
    expected = torch.autograd.grad(looped.square().mean(), wanted)
    assert_same(gradients, expected)


def test_nothing_is_added_at_other_tokens() -> None:
    source = Shifted(8, 5, R, ALPHA)
    injection = shifted(tiny("llama"), ATTENTION)
    x, given = torch.randn(B, T, 8), vectors().detach()
    [[(_, u, _)]] = project([[source]], x, injection.state.set(shift=BottleneckShift(given, POSITIONS)))
    difference = u - x @ source.A
    for b in range(B):
        for t in range(T):
            assert_close(difference[b, t], added(b, t, given), SUM, size=u)
    assert sorted(set(map(tuple, (difference.abs().sum(-1) > 1e-4).nonzero().tolist()))) == [
        (0, 0),
        (0, 6),
        (1, 2),
        (1, 5),
        (3, 1),
        (3, 3),
    ]


def test_a_fresh_layer_changes_nothing() -> None:
    ids = torch.randint(0, 97, (B, T))
    model = tiny("llama")
    expected = model(ids).logits
    injection = inject(model, ATTENTION, lambda site: [Shifted(site.in_features, site.out_features, R, ALPHA)])
    injection.state.set(shift=BottleneckShift(vectors(), POSITIONS))
    assert torch.equal(model(ids).logits, expected)


def test_what_was_trained_as_lora_can_be_taken_over() -> None:
    static, source = Static(8, 5, R, ALPHA), Shifted(8, 5, R, ALPHA)
    source.load_state_dict(static.state_dict())
    assert torch.equal(source.A, static.A)


def test_a_shift_that_is_missing_or_does_not_fit_is_refused() -> None:
    source = Shifted(8, 5, R, ALPHA)
    state = shifted(tiny("llama"), ATTENTION).state
    x = torch.randn(B, T, 8)
    for without in (None, state.set()):
        with pytest.raises(ValueError, match="needs its vectors"):
            project([[source]], x, without)
    for samples, width in ((B, R + 1), (B - 1, R)):
        wrong = state.set(shift=BottleneckShift(torch.zeros(samples, S, width), POSITIONS[:samples]))
        with pytest.raises(ValueError, match="was given for a product"):
            project([[source]], x, wrong)
    with pytest.raises(ValueError, match="do not go together"):
        state.set(shift=BottleneckShift(torch.zeros(B, S - 1, R), POSITIONS))


def test_peft_cannot_hold_it(tmp_path) -> None:
    with pytest.raises(ValueError, match="Shifted has no factors that peft knows"):
        export(shifted(tiny("llama"), ATTENTION), tmp_path / "adapter", "tiny")


def gradients(with_checkpoints: bool, frozen: bool, generated: bool) -> list[torch.Tensor | None]:
    """Gradients of a network that makes the vectors (and factors), then of the layers, after two forwards."""
    model = tiny("llama")
    if with_checkpoints:
        checkpointed(model)
    injection = shifted(model, ATTENTION, generated)
    network, factors = nn.Linear(5, S * R), nn.Linear(5, 32 * R)
    losses = []
    for seed in (0, 1):  # a later forward replaces the state before the earlier one's backward
        generator = torch.Generator().manual_seed(seed)
        nodes = torch.randn(B, 5, generator=generator)
        made = {"32": factors(nodes).view(B, 32, R)} if generated else None
        shift = BottleneckShift(network(nodes).view(B, S, R), POSITIONS)
        injection.state.set(made, frozen=frozen, shift=shift)
        embeds = torch.randn(B, T, 32, generator=generator).requires_grad_()
        hidden = model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        losses.append(weigh(hidden))
    losses[0].backward()
    losses[1].backward()
    parts = [network, *([factors] if generated else []), injection]
    return [parameter.grad for part in parts for parameter in part.parameters()]


@pytest.mark.parametrize("generated", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(frozen: bool, generated: bool) -> None:
    expected, got = gradients(False, frozen, generated), gradients(True, frozen, generated)
    made = 4 if generated else 2
    assert [gradient is None for gradient in expected] == [frozen and at >= made for at in range(len(expected))]
    for right, found in zip(expected, got, strict=True):
        if right is None:
            assert found is None
        else:
            assert_close(found, right)
            assert right.abs().max() > 0
