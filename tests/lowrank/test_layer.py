"""Values and gradients of every source against a loop that builds each sample's W0 + scale · P A^T."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from recsys_lora.lowrank import Generated, Injection, Routed, Site, Source, Static, inject
from tests.lowrank.families import FAMILIES, TARGETS, tiny
from tests.rounding import MODEL, assert_close

R, ALPHA, TASKS, B, T = 3, 5.0, 4, 5, 7
TASK = torch.tensor([2, 0, 2, 3, 0])


def sources(kind: str, site: Site) -> list[Source]:
    shape = (site.in_features, site.out_features, R, ALPHA)
    made: list[Source] = []
    if kind in ("static", "all"):
        made.append(Static(*shape))
    if kind in ("routed", "all"):
        made.append(Routed(*shape, tasks=TASKS))
    if kind in ("generated", "all"):
        made.append(Generated(str(site.in_features), *shape))
    return made


def injected(family: str, kind: str) -> tuple[nn.Module, Injection, dict[str, torch.Tensor]]:
    model = tiny(family)
    injection = inject(model, TARGETS[family], lambda site: sources(kind, site))
    torch.manual_seed(1)
    for parameter in injection.parameters():
        nn.init.normal_(parameter, std=0.3)
    shapes = injection.state.shapes
    factors = {key: torch.randn(B, s.in_features, R).mul(0.3).requires_grad_() for key, s in shapes.items()}
    return model, injection, factors


def weight_of_sample(injection: Injection, name: str, b: int, factors: dict[str, torch.Tensor]) -> torch.Tensor:
    """W0 + Σ scale · P A^T of one sample, stored as the base layer stores its weight."""
    layer = injection.layers[name]
    weight = layer.base.get_parameter("weight")
    for source in layer.sources:
        if isinstance(source, Static):
            delta = source.P @ source.A.T
        elif isinstance(source, Routed):
            delta = source.P[TASK[b]] @ source.A[TASK[b]].T
        else:
            assert isinstance(source, Generated)
            delta = source.P @ factors[source.key][b].T
        delta = ALPHA / R * delta
        weight = weight + (delta.T if type(layer.base).__name__ == "Conv1D" else delta)
    return weight


@pytest.mark.parametrize("kind", ["static", "routed", "generated", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_loop_over_samples(family: str, kind: str) -> None:
    plain = tiny(family)
    model, injection, factors = injected(family, kind)
    ids = torch.randint(0, 97, (B, T))
    if kind != "static":
        injection.state.set(factors, TASK)
    batched = model(ids).logits

    rows = []
    for b in range(B):
        weights = {f"{name}.weight": weight_of_sample(injection, name, b, factors) for name in injection.layers}
        rows.append(functional_call(plain, weights, (ids[b : b + 1],)).logits)
    looped = torch.cat(rows)
    assert_close(batched, looped)

    wanted = [*injection.parameters(), *factors.values()]
    gradients = torch.autograd.grad(batched.square().mean(), wanted)
    expected = torch.autograd.grad(looped.square().mean(), wanted)
    for got, right in zip(gradients, expected, strict=True):
        assert_close(got, right, 8 * MODEL)  # what is left of terms some ten times larger
    assert all(float(right.abs().max()) > 0 for right in expected)


def test_a_task_gets_gradients_from_its_own_samples_only() -> None:
    model, injection, _ = injected("llama", "routed")
    injection.state.set(task=TASK)
    ids = torch.randint(0, 97, (B, T))
    (model(ids).logits[TASK == 2].sum()).backward()
    for parameter in injection.parameters():
        assert parameter.grad is not None
        assert parameter.grad[2].abs().max() > 0
        assert parameter.grad[[0, 1, 3]].abs().max() == 0


def test_two_pairs_in_one_batch_get_what_each_gets_alone() -> None:
    model, injection, factors = injected("llama", "generated")
    ids = torch.randint(0, 97, (B, T))
    with torch.no_grad():
        injection.state.set(factors)
        together = model(ids).logits
        for b in range(B):
            injection.state.set({key: factor[b : b + 1] for key, factor in factors.items()})
            assert_close(model(ids[b : b + 1]).logits, together[b : b + 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_layer_changes_nothing(family: str, dtype: torch.dtype) -> None:
    plain = tiny(family).to(dtype)
    ids = torch.randint(0, 97, (B, T))
    with torch.no_grad():
        expected = plain(ids).logits
    model = copy.deepcopy(plain)
    injection = inject(model, TARGETS[family], lambda site: sources("all", site))
    factors = {key: torch.randn(B, s.in_features, R) for key, s in injection.state.shapes.items()}
    injection.state.set(factors, TASK)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_pair_and_after_removal_the_model_is_bit_for_bit_the_original(family: str) -> None:
    plain = tiny(family)
    ids = torch.randint(0, 97, (B, T))
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    expected = plain(ids).logits
    model, injection, factors = injected(family, "generated")
    assert torch.equal(model(ids).logits, expected)
    injection.state.set(factors)
    assert not torch.equal(model(ids).logits, expected)
    with injection.without_pair():
        assert torch.equal(model(ids).logits, expected)
    assert not torch.equal(model(ids).logits, expected)
    injection.remove()
    assert torch.equal(model(ids).logits, expected)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_bfloat16_follows_float32_with_factors_kept_in_float32() -> None:
    model, injection, factors = injected("llama", "all")
    ids = torch.randint(0, 97, (B, T))
    injection.state.set(factors, TASK)
    exact = model(ids).logits
    half, narrow, _ = injected("llama", "all")
    narrow.remove()
    half = half.to(torch.bfloat16)
    again = inject(half, TARGETS["llama"], lambda site: sources("all", site))
    again.load_state_dict(injection.state_dict())
    again.state.set(factors, TASK)
    rough = half(ids).logits
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    assert (rough - exact).norm() < 0.05 * exact.norm()
    rough.float().square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in again.parameters())


@pytest.mark.parametrize("per", ["sample", "token"])
def test_dropout_keeps_the_mean_and_rests_in_evaluation(per: str) -> None:
    torch.manual_seed(0)
    source = Static(40, 8, R, ALPHA, dropout=0.25, dropout_per=per)  # type: ignore[arg-type]
    x = torch.randn(1, 1, 40).expand(20000, 2, 40)
    dropped, _ = source.project(x, None)
    exact = source.eval().project(x[:1], None)[0]
    assert torch.equal(source.project(x[:1], None)[0], exact)
    torch.testing.assert_close(dropped.mean((0, 1), keepdim=True), exact[:, :1], rtol=0.05, atol=0.02)  # 40,000 draws
    same_for_all_tokens = bool((dropped[:, 0] - dropped[:, 1]).abs().max() < 1e-5)
    assert same_for_all_tokens == (per == "sample")
    assert dropped.std() > 0.01


def test_projections_that_read_the_same_input_share_the_product() -> None:
    _, injection, factors = injected("llama", "generated")
    state = injection.state.set(factors)
    x = torch.randn(B, T, 32)
    layers = [injection.layers[f"model.layers.0.self_attn.{name}"] for name in ("q_proj", "k_proj")]
    first = layers[0].sources[0].project(x, state)
    second = layers[1].sources[0].project(x, state)
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    other = layers[1].sources[0].project(x.clone(), state)
    assert other is not None
    assert other[0] is not first[0]
    x.mul_(2)  # the same tensor with other values
    changed = layers[1].sources[0].project(x, state)
    assert changed is not None
    assert torch.equal(changed[0], 2 * first[0])
