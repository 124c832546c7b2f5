"""Backbones in 8 and 4 bits: the weights are what the papers say, methods train on them, and refusals are one line."""

import numpy as np
import pytest
import torch

from recsys_lora.config.check import check
from recsys_lora.llm import quantised
from recsys_lora.llm.pretrained import FolderSource
from recsys_lora.llm.quantised import quantised_options
from recsys_lora.llm.tiny import TinySource
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared

NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""The 16 values of the QLoRA paper, appendix E."""
BLOCK = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    backbone = TinySource(init_std=0.2).load(["Film"], "cpu")
    backbone.model.save_pretrained(place)
    backbone.tokenizer.save_pretrained(place)
    return place


def load(folder, kind, device="cpu"):
    return FolderSource(str(folder), dtype="float32", quantise=kind).load([], device)


def nf4(weight):
    """Return the nearest of 16 values times the largest absolute value of each 64 weights, by plain search."""
    blocks = weight.flatten().view(-1, BLOCK, 1)
    scale = blocks.abs().amax(1, keepdim=True)
    code = torch.tensor(NF4)
    nearest = (blocks / scale - code).abs().argmin(-1, keepdim=True)
    return (code[nearest] * scale).view_as(weight)


def int8(weight):
    """Return each row in 127ths of its largest absolute value."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale).round() * scale


@pytest.mark.parametrize(("kind", "rounded", "bound"), [("nf4", nf4, 1e-4), ("int8", int8, 0.03)])
def test_weights_are_rounded_as_published(folder, kind, rounded, bound):
    pytest.importorskip("bitsandbytes")
    plain, packed = load(folder, "none"), load(folder, kind)
    generator = torch.Generator().manual_seed(0)
    for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"):
        path = f"layers.1.{name}"
        weight = rounded(plain.model.base_model.get_submodule(path).weight)
        layer = packed.model.base_model.get_submodule(path)
        assert layer.weight.element_size() == 1
        x = torch.randn(5, weight.shape[1], generator=generator, requires_grad=True)
        y = layer(x)
        assert (y - x @ weight.T).abs().max() <= bound * y.abs().max()
        along = torch.randn(y.shape, generator=generator)
        (gradient,) = torch.autograd.grad(y, x, along)
        assert (gradient - along @ weight).abs().max() <= bound * gradient.abs().max()
    assert packed.size == plain.size
    torch.testing.assert_close(packed.model.lm_head.weight, plain.model.lm_head.weight, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_the_identity_names_it(folder, kind):
    plain = FolderSource(str(folder), dtype="float32").identity()
    assert "quantise" not in plain
    assert FolderSource(str(folder), dtype="float32", quantise=kind).identity() == {**plain, "quantise": kind}


def made(folder, kind, device="cpu"):
    """Return an untrained CoRA, its prompts, some rows and their scores."""
    torch.manual_seed(0)
    data, encoder = prepared(users=10, items=10, rows_each=6, dim=4)
    module = factory.cora(data, encoder, lr=1e-2, batch_size=20, backbone=load(folder, kind, device)).to(device)
    datamodule = module.datamodule(data, WORDS, seed=0)
    rows = data.rows("test")
    return module, datamodule, rows, score_rows(module, datamodule, rows, show=False)


def shown_to_train(folder, kind, device="cpu"):
    module, datamodule, rows, untrained = made(folder, kind, device)
    before = {name: part.detach().cpu().clone() for name, part in module.named_parameters() if part.requires_grad}
    factory.trainer(max_steps=3, accelerator=device, limit_val_batches=0).fit(module, datamodule)
    trained = score_rows(module.to(device), datamodule, rows, show=False)
    after = dict(module.named_parameters())
    moved = {name for name, part in before.items() if (after[name].cpu() != part).any()}
    assert any("generator" in name for name in moved)
    assert any(name.endswith(".P") for name in moved)
    assert np.isfinite(trained).all()
    assert (trained != untrained).all()
    assert module.identity["backbone"]["quantise"] == kind


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_cora_trains_on_it(folder, kind):
    pytest.importorskip("bitsandbytes")
    shown_to_train(folder, kind)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_cora_trains_on_it_on_a_gpu(folder, kind):
    pytest.importorskip("bitsandbytes")
    shown_to_train(folder, kind, "cuda")


def test_untrained_scores_are_near_those_of_the_whole_weights(folder):
    pytest.importorskip("bitsandbytes")
    plain, rough = (made(folder, kind)[-1] for kind in ("none", "int8"))
    assert np.abs(rough - plain).max() < 0.1 * max(1.0, np.abs(plain).max())


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(quantised, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match=r"llm.quantise=nf4: no-such-package is not installed: pip install .*quantised"):
        quantised_options("nf4", torch.float32, "cpu")
    assert quantised_options("none", torch.float32, "cpu") == {}


def test_a_device_that_the_package_does_not_know_is_refused():
    pytest.importorskip("bitsandbytes")
    with pytest.raises(UserError, match=r"llm.quantise=int8: bitsandbytes .* has nothing for device meta"):
        quantised_options("int8", torch.float32, "meta")


@pytest.mark.parametrize(
    ("llm", "reason"),
    [(["llm=tiny", "+llm.quantise=nf4"], "llm.quantise"), (["llm.quantise=int4"], "llm.quantise=int4")],
)
def test_a_backbone_or_value_that_has_it_not_is_refused(llm, reason):
    with pytest.raises(UserError, match=reason):
        check(resolved(*llm))
