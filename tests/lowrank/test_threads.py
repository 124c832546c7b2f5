"""The batch's state belongs to the thread that set it: several run one model, each with its own factors."""

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from recsys_lora.lowrank import Generated, Injection, Routed, Static, inject
from tests.lowrank.families import ATTENTION, checkpointed, randomise, tiny

B, T, R = 3, 7, 4


class World:
    """A tiny decoder with all kinds of sources on every layer."""

    def __init__(self) -> None:
        self.model = tiny("llama")
        self.before = self.hidden()
        shape = {"rank": R, "alpha": 8.0}
        self.injection: Injection = inject(
            self.model,
            ATTENTION,
            lambda s: [
                Static(s.in_features, s.out_features, **shape),
                Routed(s.in_features, s.out_features, tasks=2, **shape),
                Generated("32", s.in_features, s.out_features, **shape),
            ],
        )
        torch.manual_seed(0)
        randomise(self.injection)

    def set(self, seed: int) -> None:
        factors = torch.randn(B, 32, R, generator=torch.Generator().manual_seed(seed))
        self.injection.state.set({"32": factors}, task=torch.full((B,), seed % 2))

    @torch.no_grad()
    def hidden(self) -> torch.Tensor:
        ids = torch.arange(B * T).view(B, T) % 97
        hidden: torch.Tensor = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return hidden

    def alone(self, seed: int) -> torch.Tensor:
        self.set(seed)
        return self.hidden()


def in_threads(work: Callable[[int, threading.Barrier], Any], count: int = 2) -> Sequence[Any]:
    """Return what `work(number, barrier)` returns on each of several threads, which meet at the barrier."""
    barrier = threading.Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        return [job.result() for job in [pool.submit(work, number, barrier) for number in range(count)]]


def test_each_thread_has_its_own_factors_and_tasks() -> None:
    world = World()
    expected = [world.alone(seed) for seed in range(2)]
    assert not torch.allclose(*expected)

    def work(seed: int, barrier: threading.Barrier) -> torch.Tensor:
        world.set(seed)
        barrier.wait()  # both have set theirs before either reads
        return world.hidden()

    for found, right in zip(in_threads(work), expected, strict=True):
        assert torch.equal(found, right)


def test_a_thread_that_has_set_nothing_has_no_state() -> None:
    world = World()
    world.set(0)
    with pytest.raises(ValueError, match="task"):
        in_threads(lambda number, barrier: world.hidden(), count=1)


def test_layers_that_are_off_leave_the_model_as_it_was_bit_for_bit_and_work_afterwards() -> None:
    world = World()
    expected = world.alone(0)
    with world.injection.disabled():
        assert torch.equal(world.hidden(), world.before)
        with world.injection.disabled():
            pass
        assert torch.equal(world.hidden(), world.before)
    assert torch.equal(world.hidden(), expected)
    world.injection.remove()
    assert torch.equal(world.hidden(), world.before)


def test_they_are_on_again_after_an_error() -> None:
    world = World()
    expected = world.alone(0)
    with pytest.raises(RuntimeError, match="stop"), world.injection.disabled():
        raise RuntimeError("stop")
    assert torch.equal(world.hidden(), expected)


def test_one_thread_s_layers_are_off_while_another_s_are_on() -> None:
    world = World()
    expected = world.alone(1)

    def work(number: int, barrier: threading.Barrier) -> torch.Tensor:
        world.set(number)
        if number:
            barrier.wait()
            found = world.hidden()
            barrier.wait()
            return found
        with world.injection.disabled():
            barrier.wait()
            barrier.wait()
            return world.hidden()

    off, on = in_threads(work)
    assert torch.equal(off, world.before)
    assert torch.equal(on, expected)


def test_training_on_two_threads_gives_each_its_own_gradients() -> None:
    world = World()
    checkpointed(world.model)

    def gradient(seed: int, barrier: threading.Barrier) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        factors = torch.randn(B, 32, R, generator=generator).requires_grad_()
        world.injection.state.set({"32": factors}, task=torch.full((B,), seed))
        embeds = torch.randn(B, T, 32, generator=generator)
        hidden = world.model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        barrier.wait()
        return torch.autograd.grad(hidden.square().sum() + hidden[:, 0].sum(), [factors])[0]

    expected = [gradient(seed, threading.Barrier(1)) for seed in range(2)]
    for found, right in zip(in_threads(gradient), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6 * float(right.abs().max()))


def test_a_compiled_layer_reads_its_own_thread_s_state() -> None:
    world = World()
    layer = world.injection.layers["model.layers.0.self_attn.q_proj"]
    compiled = torch.compile(layer, backend="eager", fullgraph=True, dynamic=True)
    x = torch.randn(B, T, 32)

    def work(seed: int, barrier: threading.Barrier) -> tuple[torch.Tensor, torch.Tensor]:
        world.set(seed)
        barrier.wait()
        with torch.no_grad():
            return compiled(x), layer(x)

    world.set(0)
    with torch.no_grad(), world.injection.disabled():
        torch.testing.assert_close(compiled(x), layer.base(x))
    for found, right in in_threads(work):
        torch.testing.assert_close(found, right)


def test_a_copy_begins_with_no_state() -> None:
    slot = World().injection.state
    slot.set(task=torch.zeros(B, dtype=torch.long))
    copied = copy.deepcopy(slot)
    assert copied.current is None
    assert (copied.dtype, copied.shapes) == (slot.dtype, slot.shapes)
