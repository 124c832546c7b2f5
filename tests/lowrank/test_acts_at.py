"""Generated factors that act on some tokens: against a loop over samples and tokens, and under all ways of training."""

import pytest
import torch
from torch import nn

from recsys_lora.lowrank import BottleneckShift, Generated, Injection, StateSlot, Static, inject
from recsys_lora.lowrank.shared_input import project
from tests.lowrank.families import ATTENTION, FAMILIES, TARGETS, assert_same, checkpointed, randomise, tiny, weigh
from tests.rounding import assert_close

R, ALPHA, B, T = 3, 6.0, 4, 7
STARTS = torch.tensor([0, 3, 7, 6])  # all tokens of sample 0, none of sample 2
ACTS = torch.arange(T) >= STARTS[:, None]  # (B, T)
PADS = {"none": [0, 0, 0, 0], "left": [0, 2, 0, 4], "right": [0, 2, 0, 1]}


def injected(
    family: str, static: bool = False, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, Injection, dict[str, torch.Tensor]]:
    model = tiny(family).to(dtype)

    def sources(site):
        shape = site.in_features, site.out_features, R, ALPHA
        return [Generated(str(site.in_features), *shape), *([Static(*shape)] if static else [])]

    injection = inject(model, TARGETS[family], sources)
    torch.manual_seed(1)
    randomise(injection.to(dtype))
    shapes = injection.state.shapes
    factors = {
        key: torch.randn(B, s.in_features, R, dtype=dtype).mul(0.3).requires_grad_() for key, s in shapes.items()
    }
    return model, injection, factors


def looped(family: str, injection: Injection, factors: dict[str, torch.Tensor], b: int) -> nn.Module:
    """Return the original model with sample b's own W0 + scale · P A^T at its tokens, and W0 at all others."""
    model = tiny(family).double()
    for name, layer in injection.layers.items():
        generated, *rest = layer.sources
        delta = ALPHA / R * generated.P @ factors[generated.key][b].T  # (out, in)
        always = sum((ALPHA / R * source.P @ source.A.T for source in rest), torch.zeros_like(delta))

        def update(module, args, y, delta=delta, always=always):
            x = args[0]
            rows = [y[0, t] + (always + delta if ACTS[b, t] else always) @ x[0, t] for t in range(x.shape[1])]
            return torch.stack(rows)[None]

        model.get_submodule(name).register_forward_hook(update)
    return model


def attention_mask(padding: str) -> torch.Tensor:
    places, pads = torch.arange(T), torch.tensor(PADS[padding])[:, None]
    return (places >= pads) if padding == "left" else (places < T - pads)


@pytest.mark.parametrize("padding", PADS)
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_a_loop_over_samples_and_tokens(family: str, static: bool, padding: str) -> None:
    model, injection, factors = injected(family, static, torch.float64)
    ids, mask = torch.randint(0, 97, (B, T)), attention_mask(padding)
    more = {"attention_mask": mask.long(), "position_ids": (mask.long().cumsum(1) - 1).clamp_min(0)}
    injection.state.set(factors, acts_at=ACTS)
    batched = model(ids, **more).logits[mask]
    rows = []
    for b in range(B):
        own = {name: value[b : b + 1] for name, value in more.items()}
        rows.append(looped(family, injection, factors, b)(ids[b : b + 1], **own).logits[0][mask[b]])
    expected = torch.cat(rows)
    assert_close(batched, expected)  # in float64, but some families compute norms in float32
    wanted = [*injection.parameters(), *factors.values()]
    found = list(torch.autograd.grad(batched.square().mean(), wanted))
    assert_same(found, list(torch.autograd.grad(expected.square().mean(), wanted)))
    assert all(bool((gradient[2] == 0).all()) for gradient in found[-len(factors) :])  # of the sample without a token


@pytest.mark.parametrize("family", FAMILIES)
def test_what_stands_before_is_bit_for_bit_the_frozen_models(family: str) -> None:
    model, injection, factors = injected(family)
    ids = torch.randint(0, 97, (B, T))
    with torch.no_grad():
        injection.state.set(factors, acts_at=ACTS)
        states = model(ids).logits
        with injection.disabled():
            frozen = model(ids).logits
    assert torch.equal(states[~ACTS], frozen[~ACTS])
    assert bool(((states - frozen).abs().amax(-1) > 1e-4)[ACTS].all())


def test_at_all_tokens_they_act_as_without_being_told() -> None:
    model, injection, factors = injected("llama")
    ids = torch.randint(0, 97, (B, T))
    injection.state.set(factors)
    expected = model(ids).logits
    injection.state.set(factors, acts_at=torch.ones(B, T, dtype=torch.bool))
    assert torch.equal(model(ids).logits, expected)


def test_tokens_that_do_not_fit_the_input_are_refused() -> None:
    _, injection, factors = injected("llama")
    source = injection.layers["model.layers.0.self_attn.q_proj"].sources[0]
    for wrong in (ACTS[:, 1:], ACTS[1:]):
        with pytest.raises(ValueError, match="do not fit a product"):
            project([[source]], torch.randn(B, T, 32), injection.state.set(factors, acts_at=wrong))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_projections_of_one_input_share_a_product_in_its_dtype(dtype: torch.dtype) -> None:
    _, injection, factors = injected("llama")
    state = injection.state.set(factors, acts_at=ACTS)
    x = torch.randn(B, T, 32, dtype=dtype)
    layers = [injection.layers[f"model.layers.0.self_attn.{name}"] for name in ("q_proj", "k_proj")]
    (_, first, _), (_, second, _) = (layer.readers.updates(layer.number, x, state)[0] for layer in layers)
    assert first is second
    assert first.dtype == dtype
    assert torch.equal(first.abs().sum(-1) > 0, ACTS)


def test_compiled_without_a_break() -> None:
    _, injection, factors = injected("llama")
    layer = injection.layers["model.layers.0.self_attn.q_proj"]
    compiled = torch.compile(layer, backend="eager", fullgraph=True, dynamic=True)
    for width in (T, T - 2):
        x = torch.randn(B, width, 32)
        injection.state.set(factors, acts_at=ACTS[:, :width])
        assert_close(compiled(x), layer(x))


def gradients(with_checkpoints: bool, dropout: float) -> list[torch.Tensor]:
    """Gradients of a network that makes the factors, then of the layers, after two forwards at different tokens."""
    model = tiny("llama")
    if with_checkpoints:
        checkpointed(model)
    injection = inject(model, ATTENTION, lambda s: [Generated("32", s.in_features, s.out_features, R, ALPHA, dropout)])
    torch.manual_seed(3)
    network, losses = nn.Linear(5, 32 * R), []
    randomise(injection)
    for acts in (ACTS, ~ACTS):  # the second forward's tokens must not be taken for the first's backward
        injection.state.set({"32": network(torch.randn(B, 5)).view(B, 32, R)}, acts_at=acts)
        embeds = torch.randn(B, T, 32).requires_grad_()
        hidden = model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        losses.append(weigh(hidden))
    losses[0].backward()
    losses[1].backward()
    return [parameter.grad for part in (network, injection) for parameter in part.parameters()]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_checkpointing_gives_the_same_gradients(dropout: float) -> None:
    assert_same(gradients(True, dropout), gradients(False, dropout))


@pytest.mark.parametrize(
    ("generated", "acts", "places", "expected"),
    [
        (False, None, None, T),
        (True, None, None, 0),
        (True, ACTS[1:], None, 3),
        (True, ACTS[2:3], None, T),
        (False, ACTS, None, T),
        (False, None, [[-1, 5], [4, 6]], 4),
        (False, None, [[-1, -1], [-1, -1]], T),
        (True, ACTS[1:3], [[2, -1], [5, -1]], 2),
        (True, None, [[2, -1], [5, -1]], 0),
    ],
)
def test_tokens_that_nothing_made_acts_at_are_counted(generated, acts, places, expected) -> None:
    slot = StateSlot(torch.float32)
    shift = None if places is None else BottleneckShift(torch.zeros(2, 2, R), torch.tensor(places))
    state = slot.set(shift=shift, acts_at=acts)
    if generated:
        state.generated["a"] = torch.zeros(2, 8, R)
    assert state.untouched(T) == expected


def test_a_window_has_what_its_tokens_and_samples_need() -> None:
    _, injection, factors = injected("llama")
    shift = BottleneckShift(torch.randn(B, 2, R), torch.tensor([[0, 4], [3, -1], [5, 6], [2, 2]]))
    whole = injection.state.set(factors, task=torch.arange(B), frozen=True, shift=shift, acts_at=ACTS)
    part = whole.window(3, 3, 6)
    assert part.frozen
    assert part.task.tolist() == [0, 1, 2]
    assert torch.equal(part.acts_at, ACTS[:3, 3:6])
    assert part.shift.positions.tolist() == [[-1, 1], [0, -1], [2, -1]]
    assert torch.equal(part.shift.vectors, shift.vectors[:3])
    assert all(torch.equal(part.generated[key], factor[:3]) for key, factor in whole.generated.items())
    bare = injection.state.set(task=torch.arange(B)).window(1, 0, 2)
    assert (bare.shift, bare.acts_at, bare.generated) == (None, None, {})
