"""What CoLLM promises, on a tiny backbone."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from recsys_lora.cf.din import DIN
from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.lightgcn import LightGCN
from recsys_lora.cf.mf import MF
from recsys_lora.cf.sasrec import SASRec
from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.methods.collm import mapping
from recsys_lora.methods.soft_tokens import soft_columns, token_std
from recsys_lora.prompts.template import SOFT, Example
from recsys_lora.utils.errors import UserError
from tests import jobs
from tests.methods import factory
from tests.methods.asking import batch_of, gradients, score_rows, with_updates
from tests.methods.synthetic import WORDS, TableEncoder, prepared
from tests.rounding import SUM, assert_close

JOB = (
    "model=collm",
    "llm=tiny",
    "llm.layers=1",
    "budget=smoke",
    "data=table",
    "data.train_rows=24",
    "data.valid_rows=16",
    "data.test_rows=24",
    "evaluation.shuffled_rows=8",
    "evaluation.draws=10",
    "cf=mf",
    "cf.trainer.max_epochs=1",
    "cf.encoder.dim=8",
)


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])


def test_the_mapping_has_the_papers_shape_and_is_one_for_both_sides():
    shapes = [tuple(p.shape) for p in mapping(8, 15, 64).parameters()]
    assert shapes == [(120, 8), (120,), (64, 120), (64,)]


@pytest.mark.parametrize("dim", [16, 256])
def test_tokens_start_as_spread_as_the_backbones_own(dim):
    torch.manual_seed(0)
    network = mapping(dim, 10, 512, 0.07)
    assert network(torch.randn(400, dim)).std().item() == pytest.approx(0.07, rel=0.1)


def test_the_tokens_of_the_training_rows_have_the_spread_of_the_embeddings(world):
    data, _ = world
    far = TableEncoder(20, 20, 4)
    far.users.data.mul_(30), far.items.data.mul_(0.01)
    spread = factory.backbone(data).model.get_input_embeddings().weight.std().item()
    for knobs, near in (({}, True), ({"input_scale": "none"}, False), ({"output_scale": "none"}, False)):
        module = factory.collm(data, far, **knobs)
        module.calibrate(data, data.rows("train"))
        batch = batch_of(module, data, rows=30)
        tokens = module.soft_tokens(batch, module.collaborative(batch))
        ratios = tokens.std(dim=(0, 2)) / spread
        assert bool(((ratios > 0.5) & (ratios < 2)).all()) == near, knobs


def test_the_spread_of_a_backbone_is_that_of_its_embeddings(world):
    backbone = factory.backbone(world[0])
    expected = backbone.model.get_input_embeddings().weight.detach().numpy().std()
    assert_close(token_std(backbone), expected)


def test_a_tuned_encoder_is_a_copy_and_changes_the_scores_alone(world):
    data, encoder = world
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    module = factory.collm(data, encoder, tune_encoder=True, lr=0.05)
    datamodule = module.datamodule(data, WORDS, seed=0)
    factory.trainer(max_steps=3).fit(module, datamodule)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(module.tuned_encoder.users, encoder.users)
    rows = data.rows("test")
    tuned = score_rows(module, datamodule, rows, show=False)
    module.tuned_encoder.load_state_dict(before)
    assert not np.allclose(tuned, score_rows(module, datamodule, rows, show=False))


@pytest.mark.parametrize("kind", [MF, LightGCN, SASRec, DIN], ids=lambda kind: kind.__name__)
def test_gradients_reach_every_kind_of_encoder(world, kind):
    data, _ = world
    torch.manual_seed(0)
    catalogue = Catalogue.from_prepared(data)
    fitted = kind(catalogue, dim=8).eval().requires_grad_(False)
    module = factory.collm(data, fitted, tune_encoder=True, untrained_encoder=lambda: kind(catalogue, dim=8))
    own, theirs = module.tuned_encoder.state_dict(), fitted.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())
    with_updates(module).train()
    found = gradients(module, batch_of(module, data))
    assert not [name for name, gradient in found.items() if gradient is None]
    moved = {name.split(".")[1] for name, gradient in found.items() if name.startswith("tuned_encoder.")}
    assert "network" not in moved  # DIN's scoring network gives no vector
    assert sum(float(found[f"tuned_encoder.{name}"].abs().sum()) for name in _tables(kind)) > 0


def _tables(kind):
    return ["weight"] if kind is LightGCN else ["items.weight"] if kind is SASRec else ["users.weight", "items.weight"]


def test_a_fresh_encoder_is_the_one_that_is_made(world):
    data, encoder = world
    fresh = TableEncoder(20, 20, 4, seed=5)
    module = factory.collm(
        data, encoder, tune_encoder=True, encoder_start="fresh", untrained_encoder=lambda: fresh, input_scale="std"
    )
    assert torch.equal(module.tuned_encoder.users, fresh.users)
    module.calibrate(data, data.rows("train"))
    users = fresh.users[torch.from_numpy(data.rows("train").user)]
    assert_close(module.vector_scale.user, users.std(), SUM)


def test_frozen_updates_are_kept_and_left_without_dropout(world):
    data, encoder = world
    module = with_updates(factory.collm(data, encoder, dropout=0.5))
    kept = {name: p.clone() for name, p in module.lowrank.named_parameters()}
    batch = batch_of(module, data)
    assert torch.equal(module.train()(batch), module(batch))
    factory.trainer(max_steps=2).fit(module, module.datamodule(data, WORDS, seed=0))
    assert all(torch.equal(p, kept[name]) for name, p in module.lowrank.named_parameters())
    assert {f"lowrank.{name}" for name in kept} < set(trained_state(module))


def test_tokens_stand_in_the_order_of_the_prompt(world):
    data, encoder = world
    usual = factory.collm(data, encoder)
    turned = factory.collm(data, encoder, prompt=factory.soft_template("<item>", "<user>"))
    batch = batch_of(usual, data)
    expected = usual.soft_tokens(batch, usual.collaborative(batch))
    assert torch.equal(turned.soft_tokens(batch, turned.collaborative(batch)), expected[:, [1, 0]])


class Uneven(nn.Module):
    user_dim, item_dim, history_length = 4, 6, 0


def test_an_encoder_of_two_widths_is_refused(world):
    with pytest.raises(UserError, match="e_u is 4 wide and e_i 6"):
        factory.collm(world[0], Uneven())


def test_a_prompt_without_soft_tokens_or_with_others_is_refused(world):
    with pytest.raises(UserError, match="has no soft tokens: put <user>, <item>"):
        factory.collm(*world, prompt=factory.template())
    with pytest.raises(UserError, match="<u1>: choose from <user>, <item>"):
        soft_columns([("user", 0), ("u1", 0)], ["user", "item"])


def test_the_prompt_is_the_papers():
    template = instantiate(jobs.resolved("model=collm")["model"]["prompt"])
    assert template.soft_names == ["user", "item"]
    words = {"item": "movie", "items": "movies"}
    assert template.render(Example([{"title": "Alien"}], {"title": "Heat"}), words) == (
        '#Question: A user has given high ratings to the following movies: "Alien". Additionally, we have information '
        f"about the user's preferences encoded in the feature {SOFT}. Using all available information, make a "
        f'prediction about whether the user would enjoy the movie titled "Heat" with the feature {SOFT}? Answer with '
        '"Yes" or "No". \n#Answer:'
    )


@pytest.mark.parametrize("ablation", ["collm", "collm_fresh_encoder", "collm_joint"])
def test_a_whole_job_of_each_strategy(tmp_path, home, ablation):
    tables = jobs.write_tables(tmp_path / "tables", *jobs.own_tables())
    outcome = jobs.run(tmp_path / "run", *JOB, *tables, f"ablation={ablation}")
    module = outcome.method.module
    assert not any(p.requires_grad for p in outcome.collaborative.encoder.parameters())
    stages = len(list((tmp_path / "home" / "artifacts" / "method").glob("*/artifact.json")))
    assert stages == (1 if ablation == "collm_joint" else 2)
    updates = [name for name, p in module.lowrank.named_parameters() if name.endswith(".P") and p.abs().sum() > 0]
    assert updates
    if ablation == "collm_fresh_encoder":
        own, fitted = module.tuned_encoder.users.weight, outcome.collaborative.encoder.users.weight
        assert own.shape == fitted.shape
        assert not torch.allclose(own.cpu(), fitted, atol=0.1)
