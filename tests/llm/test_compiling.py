"""Compiled decoder blocks compute what they computed before, with low-rank layers and without."""

import shutil

import numpy as np
import pytest
import torch

from recsys_lora.llm import backbone as backbones
from recsys_lora.llm.compiling import compile_blocks, decoder_blocks
from recsys_lora.llm.tiny import TinySource
from recsys_lora.lowrank import Generated, Static, inject
from recsys_lora.utils.errors import UserError
from tests.marks import needs_compiler
from tests.methods import factory
from tests.methods.asking import prompts_for
from tests.methods.synthetic import prepared
from tests.rounding import MODEL, assert_close

TARGETS = ["q_proj", "k_proj", "v_proj", "gate_proj"]


def adapted(compiled: bool | str, device: str = "cpu"):
    """A tiny backbone whose layers have a generated and a static source; their factors are random."""
    backbone = TinySource(compiled=compiled).load(["a title"], device)
    torch.manual_seed(1)
    injection = inject(
        backbone.model,
        TARGETS,
        lambda s: [
            Generated("A", s.in_features, s.out_features, 4, 8.0),
            Static(s.in_features, s.out_features, 2, 2.0),
        ],
    )
    for parameter in injection.parameters():  # drawn on the CPU, so that they are the same on any device
        parameter.data.copy_(torch.randn(parameter.shape) * 0.3)
    return backbone, injection


def results(backbone, injection, rows: int, tokens: int):
    """Return states with a pair, gradients, states in inference mode, and those of the model without a pair."""
    generator = torch.Generator().manual_seed(tokens)
    embeds = torch.randn(rows, tokens, backbone.hidden_size, generator=generator).to(backbone.device)
    factor = torch.randn(rows, backbone.hidden_size, 4, generator=generator).div(8).to(backbone.device).requires_grad_()
    mask = torch.ones(rows, tokens, dtype=torch.bool, device=backbone.device)
    mask[0, -1] = False
    injection.state.set({"A": factor})
    hidden = backbone.hidden(embeds, mask)
    injection.zero_grad(set_to_none=True)
    (hidden[mask] * embeds[mask]).sum().backward()  # not their squares: the last norm fixes the sum of these
    gradients = [factor.grad, *(parameter.grad.clone() for parameter in injection.parameters())]
    with torch.inference_mode():
        injection.state.set({"A": factor})
        scored = backbone.hidden(embeds, mask)
    with injection.disabled(), torch.no_grad():
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


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_prompts_filled_up_for_graphs_keep_their_states(right, dtype, monkeypatch):
    monkeypatch.setattr(backbones, "LENGTH_BUCKET", 8)
    found, read = [], []
    for graphs in (False, True):
        backbone = TinySource(dtype=dtype).load(["a title"], "cpu")
        backbone.graphs = graphs
        backbone.model.base_model.register_forward_pre_hook(
            lambda module, args, kwargs: read.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
        )
        torch.manual_seed(0)
        embeds = torch.randn(3, 11, backbone.hidden_size, dtype=backbone.dtype).requires_grad_()
        mask = torch.arange(11) < torch.tensor([[11], [4], [7]])
        mask = mask if right else mask.flip(1)
        hidden = backbone.hidden(embeds, mask, right)
        (hidden * embeds.detach())[mask].float().sum().backward()
        found.append([hidden.detach()[mask], embeds.grad[mask]])
    assert read == [11, 16]
    for one, other in zip(*found, strict=True):
        assert_close(one, other, MODEL if dtype == "float32" else 16, dtype=getattr(torch, dtype))  # bfloat16: 2^-7


def test_weights_of_a_suffix_act_where_filled_up_prompts_have_it(monkeypatch):
    monkeypatch.setattr(backbones, "LENGTH_BUCKET", 8)
    data, encoder = prepared(users=10, items=12, rows_each=6)
    scores = []
    for graphs in (False, True):
        module = factory.cora(data, encoder, scope="suffix").eval()
        torch.manual_seed(1)
        for parameter in module.lowrank.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        module.backbone.graphs = graphs
        prompts = prompts_for(module, data, data.rows("test"))
        batch = prompts.batch(np.arange(6), module.backbone.pad_id, "right")
        assert batch.input_ids.shape[1] % 8
        with torch.no_grad():
            scores.append(module(batch))
    assert_close(scores[1], scores[0])
    assert scores[0].std() > 0


@pytest.mark.slow
@needs_compiler
def test_the_mode_of_cuda_graphs_gives_the_same_where_there_are_none():
    torch.compiler.reset()
    ours, theirs = adapted(compiled="reduce-overhead"), adapted(compiled=False)
    assert ours[0].graphs
    for rows, tokens in ((3, 11), (3, 40)):
        for one, other in zip(results(*ours, rows, tokens), results(*theirs, rows, tokens), strict=True):
            assert_close(one, other)
    ids = torch.arange(12).view(2, 6)
    mask = torch.ones(2, 6, dtype=torch.bool)
    for injection in (ours[1], theirs[1]):
        injection.state.clear()
    with torch.no_grad():
        states = [b.forward_with_cache(b.embed(ids), mask)[0] for b in (ours[0], theirs[0])]
    assert torch.equal(*states)  # with a cache, blocks are not compiled


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_give_the_same_states_and_gradients_step_after_step():
    torch.compiler.reset()
    graphs, plain = adapted("reduce-overhead", "cuda"), adapted(False, "cuda")
    for _ in range(3):  # warmed up, recorded, replayed
        for rows, tokens in ((3, 11), (3, 40)):
            graphs[0].begin_step()
            for one, other in zip(results(*graphs, rows, tokens), results(*plain, rows, tokens), strict=True):
                assert_close(one, other, 8 * MODEL)  # TF32 is off by default


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
