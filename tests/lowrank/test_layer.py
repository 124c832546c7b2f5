"""Values and gradients of every source against a loop that builds each sample's W0 + scale · P A^T."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from recsys_lora.lowrank import BatchState, Generated, Injection, Routed, Site, Source, StateSlot, Static, inject
from recsys_lora.lowrank.shared_input import SharedInput, project
from recsys_lora.lowrank.state import GeneratedShape
from tests.lowrank.families import FAMILIES, TARGETS, randomise, tiny
from tests.rounding import MODEL, SUM, assert_close

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
    randomise(injection)
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
    with injection.disabled():
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
    dropped = narrow(source, x)
    exact = narrow(source.eval(), x[:1])
    assert torch.equal(narrow(source, x[:1]), exact)
    torch.testing.assert_close(dropped.mean((0, 1), keepdim=True), exact[:, :1], rtol=0.05, atol=0.02)
    same_for_all_tokens = bool((dropped[:, 0] - dropped[:, 1]).abs().max() < 1e-5)
    assert same_for_all_tokens == (per == "sample")
    assert dropped.std() > 0.01


class Products(TorchDispatchMode):
    """Counts matrix products."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "baddbmm")
        return func(*args, **(kwargs or {}))


def narrow(source: Source, x: torch.Tensor, state: BatchState | None = None) -> torch.Tensor:
    [[(_, u, _)]] = project([[source]], x, state)
    return u


def reading(kind: str, count: int = 3, **knobs: Any) -> tuple[SharedInput, list[Source]]:
    """Layers of one source each that read the same input; random factors."""
    torch.manual_seed(2)
    readers, shape = SharedInput(), (32, 8, R, ALPHA)
    made: list[Source] = []
    for _ in range(count):
        if kind == "generated":
            made.append(Generated("a", *shape, **knobs))
        else:
            made.append(Routed(*shape, tasks=TASKS, **knobs) if kind == "routed" else Static(*shape, **knobs))
        readers.join(made[-1:])
    randomise(nn.ModuleList(made))
    return readers, made


def batch_state() -> BatchState:
    slot = StateSlot(torch.float32)
    slot.declare("a", GeneratedShape(32, R, ALPHA / R))
    return slot.set({"a": torch.randn(B, 32, R)}, TASK)


@pytest.mark.parametrize("kind", ["static", "routed", "generated"])
def test_layers_that_read_one_input_get_one_product_of_what_each_gets_alone(kind: str) -> None:
    readers, sources = reading(kind)
    x, state = torch.randn(B, T, 32), batch_state()
    alone = [narrow(source, x, state) for source in sources]
    with Products() as products:
        together = [readers.updates(number, x, state)[0][1] for number in range(3)]
    assert products.count == 1
    for got, expected in zip(together, alone, strict=True):
        assert_close(got, expected, SUM)
    assert (together[0] is together[1]) == (kind == "generated")


def test_sources_of_several_kinds_get_what_they_get_alone() -> None:
    readers, sources = SharedInput(), []
    for kind in ("static", "routed", "generated"):
        _, [source] = reading(kind, 1)
        readers.join([source])
        sources.append(source)
    x, state = torch.randn(B, T, 32), batch_state()
    for training in (False, True):
        for number, source in enumerate(sources):
            got = readers.updates(number, x, state)[0][1]
            assert_close(got, narrow(source, x, state), SUM)
            source.train(training)


def test_what_was_made_is_for_that_very_input_and_for_one_forward() -> None:
    readers, sources = reading("static", 2)
    x = torch.randn(B, T, 32)
    first = readers.updates(0, x, None)[0][1]
    other = readers.updates(1, x.clone(), None)[0][1]
    assert_close(other, narrow(sources[1], x), SUM)
    readers.updates(0, x, None)
    x.mul_(2)  # the same tensor with other values
    assert_close(readers.updates(1, x, None)[0][1], narrow(sources[1], x), SUM)
    assert_close(readers.updates(0, x, None)[0][1], 2 * first, SUM)
    readers, sources = reading("static", 2, dropout=0.5)
    twice = [[readers.updates(number, x, None)[0][1] for number in range(2)] for _ in range(2)]
    assert not torch.equal(twice[0][0], twice[1][0])  # every forward draws anew


@pytest.mark.parametrize("per", ["sample", "token"])
def test_every_factor_draws_features_of_its_own(per: str) -> None:
    readers, sources = reading("static", 2, dropout=0.5, dropout_per=per)
    with torch.no_grad():
        for source in sources:
            source.get_parameter("A").fill_(1.0)
    x = torch.ones(4, 2, 32)
    one, other = (readers.updates(number, x, None)[0][1] for number in range(2))
    assert not torch.equal(one, other)
    assert bool((one[:, 0] == one[:, 1]).all()) == (per == "sample")
    assert torch.equal(one[..., :1].expand_as(one), one)  # one mask for all of a factor's columns
    assert set(one.unique().tolist()) <= {2.0 * kept for kept in range(33)}


def test_query_key_and_value_read_together_and_the_output_does_not() -> None:
    _, injection, _ = injected("llama", "static")
    numbers = {name.rpartition(".")[2]: layer.number for name, layer in injection.layers.items() if ".0." in name}
    readers = {name.rpartition(".")[2]: layer.readers for name, layer in injection.layers.items() if ".0." in name}
    assert readers["q_proj"] is readers["k_proj"] is readers["v_proj"]
    assert readers["gate_proj"] is readers["up_proj"]
    assert len({id(each) for each in readers.values()}) == 4
    assert (numbers["q_proj"], numbers["k_proj"], numbers["v_proj"], numbers["o_proj"]) == (0, 1, 2, 0)
