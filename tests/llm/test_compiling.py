"""Compiled decoder blocks compute what they computed before, with low-rank layers and without."""

import shutil

import pytest
import torch

from recsys_lora.errors import UserError
from recsys_lora.llm.compiling import compile_blocks, decoder_blocks
from recsys_lora.llm.tiny import TinySource
from recsys_lora.lowrank import Generated, Static, inject
from tests.marks import needs_compiler
from tests.rounding import assert_close

TARGETS = ["q_proj", "k_proj", "v_proj", "gate_proj"]


def adapted(compiled: bool):
    """A tiny backbone whose layers have a generated and a static source; their factors are random."""
    backbone = TinySource(compiled=compiled).load(["a title"], "cpu")
    torch.manual_seed(1)
    injection = inject(
        backbone.model,
        TARGETS,
        lambda s: [
            Generated("A", s.in_features, s.out_features, 4, 8.0),
            Static(s.in_features, s.out_features, 2, 2.0),
        ],
    )
    for parameter in injection.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return backbone, injection


def results(backbone, injection, rows: int, tokens: int):
    """Return states with a pair, gradients, states in inference mode, and those of the model without a pair."""
    generator = torch.Generator().manual_seed(tokens)
    embeds = torch.randn(rows, tokens, backbone.hidden_size, generator=generator)
    factor = torch.randn(rows, backbone.hidden_size, 4, generator=generator).div(8).requires_grad_()
    mask = torch.ones(rows, tokens, dtype=torch.bool)
    mask[0, -1] = False
    injection.state.set({"A": factor})
    hidden = backbone.hidden(embeds, mask)
    injection.zero_grad()
    (hidden[mask] * embeds[mask]).sum().backward()  # not their squares: the last norm fixes the sum of these
    gradients = [factor.grad, *(parameter.grad for parameter in injection.parameters())]
    with torch.inference_mode():
        injection.state.set({"A": factor})
        scored = backbone.hidden(embeds, mask)
    with injection.without_pair(), torch.no_grad():
        plain = backbone.hidden(embeds, mask)
    return [hidden.detach()[mask], *gradients, scored[mask], plain[mask]]


@pytest.mark.slow
@needs_compiler
def test_compiled_blocks_give_the_same_states_and_gradients_for_batches_of_any_shape():
    torch.compiler.reset()
    ours, theirs = adapted(compiled=True), adapted(compiled=False)
    for rows, tokens in ((3, 11), (5, 7), (2, 16)):
        pairs = zip(results(*ours, rows, tokens), results(*theirs, rows, tokens), strict=True)
        for one, other in pairs:
            assert_close(one, other)
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.slow
@needs_compiler
def test_without_the_layers_the_model_is_the_original_again():
    torch.compiler.reset()
    backbone, injection = adapted(compiled=True)
    results(backbone, injection, 3, 11)
    injection.remove()
    original = TinySource().load(["a title"], "cpu")
    ids = torch.arange(12).view(2, 6)
    mask = torch.ones(2, 6, dtype=torch.bool)
    with torch.no_grad():
        assert_close(backbone.hidden(backbone.embed(ids), mask), original.hidden(original.embed(ids), mask))
    assert backbone.model.state_dict().keys() == original.model.state_dict().keys()


def test_checkpointed_blocks_are_not_compiled():
    with pytest.raises(UserError, match="exclude each other"):
        TinySource(compiled=True, gradient_checkpointing=True)


def test_a_missing_compiler_and_a_model_without_blocks_are_named(monkeypatch):
    model = TinySource().load(["a title"], "cpu").model
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"llm\.compiled=true: .* no-such-compiler is not here"):
        compile_blocks(model, "cpu")
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    model.model.layers = torch.nn.Sequential(*decoder_blocks(model))
    with pytest.raises(UserError, match="keeps no list of blocks"):
        compile_blocks(model, "cpu")
