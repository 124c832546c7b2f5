"""A copy of the CF model that is trained with a method: one mechanism for CoRA and CoLLM."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.lightgcn import LightGCN
from recsys_lora.cf.mf import MF
from recsys_lora.cf.sasrec import SASRec
from recsys_lora.cf.two_fits import TwoFits
from recsys_lora.methods.candidates import score_candidates
from recsys_lora.methods.checkpoint import load_checkpoint, trained_state
from tests import jobs, processes
from tests.methods import factory
from tests.methods.asking import batch_of, gradients, score_rows, with_updates
from tests.methods.synthetic import WORDS, TableEncoder, prepared
from tests.rounding import SUM, assert_close

METHODS = {"cora": factory.cora, "collm": factory.collm}


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])


@pytest.mark.parametrize("method", METHODS)
def test_its_gradient_is_that_of_the_vectors_summed_over_rows(world, method):
    data, encoder = world
    module = with_updates(METHODS[method](data, encoder, tune_encoder=True)).train()
    batch = batch_of(module, data)
    found = gradients(module, batch)
    user, items = (part.detach().clone().requires_grad_() for part in module.collaborative(batch))
    module.collaborative = lambda batch: (user, items)
    loss = functional.binary_cross_entropy_with_logits(module(batch), batch.label)
    by_row = torch.autograd.grad(loss, [user, items])
    for name, ids, gradient in (("users", batch.user, by_row[0]), ("items", batch.item, by_row[1].squeeze(1))):
        expected = torch.zeros_like(getattr(encoder, name))
        for place, number in enumerate(ids.tolist()):
            expected[number] += gradient[place]
        assert expected.any()
        assert_close(found[f"tuned_encoder.{name}"], expected, SUM)


@pytest.mark.parametrize("kind", [MF, LightGCN, SASRec], ids=lambda kind: kind.__name__)
def test_cora_starts_as_without_it_and_gradients_reach_every_kind_of_encoder(world, kind):
    data, _ = world
    torch.manual_seed(0)
    catalogue = Catalogue.from_prepared(data)
    fitted = kind(catalogue, dim=8).eval().requires_grad_(False)
    knobs = {"tune_encoder": True, "untrained_encoder": lambda: kind(catalogue, dim=8)}
    plain, module = (with_updates(factory.cora(data, fitted, **some)) for some in ({}, knobs))
    for made in (plain, module):
        made.calibrate(data, data.rows("train"))
    batch = batch_of(module, data)
    assert torch.equal(plain.eval()(batch), module.eval()(batch))
    found = gradients(module.train(), batch)
    assert all(gradient is not None for gradient in found.values())
    assert sum(float(g.abs().sum()) for name, g in found.items() if name.startswith("tuned_encoder.")) > 0
    assert not any(p.requires_grad for p in fitted.parameters())


def test_biases_give_no_vector_and_stay_as_fitted(world):
    data, _ = world
    catalogue = Catalogue.from_prepared(data)
    fitted = MF(catalogue, dim=8, biases=True).eval().requires_grad_(False)
    untrained = lambda: MF(catalogue, dim=8, biases=True)  # noqa: E731
    module = factory.cora(data, fitted, tune_encoder=True, untrained_encoder=untrained)
    trained = {name for name, p in module.tuned_encoder.named_parameters() if p.requires_grad}
    assert trained == {"users.weight", "items.weight"}


@pytest.mark.parametrize("offset", ["none", "cf"])
def test_the_fitted_encoder_stays_and_is_the_offsets(world, offset, tmp_path):
    data, encoder = world
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    module = factory.cora(data, encoder, tune_encoder=True, lr=0.02, offset=offset)
    datamodule = module.datamodule(data, WORDS, seed=0)
    rows = data.rows("test")
    own = encoder.score(torch.from_numpy(rows.user), None, torch.from_numpy(rows.item)).double().numpy()
    if offset == "cf":
        assert np.array_equal(score_rows(module, datamodule, rows), own)
    trainer = factory.trainer(max_steps=5)
    trainer.fit(module, datamodule)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not torch.equal(module.tuned_encoder.users, encoder.users)
    scores = score_rows(module, datamodule, rows)
    user, item = int(rows.user[0]), int(rows.item[0])
    assert_close(score_candidates(module, datamodule, user, [item])[0], scores[0])
    if offset == "cf":  # without the offset's parts the method's own score is left, of the tuned vectors
        scale, shift = float(module.offset.scale), float(module.offset.shift)
        with torch.no_grad():
            module.offset.scale.fill_(1.0)
            module.offset.shift.fill_(0.0)
        alone = score_rows(module, datamodule, rows) - own
        assert_close(scores, own + scale * alone + shift)
        with torch.no_grad():
            module.offset.scale.fill_(scale)
            module.offset.shift.fill_(shift)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = factory.cora(data, encoder, tune_encoder=True, offset=offset, seed=9)
    load_checkpoint(tmp_path / "last.ckpt", other, other.identity)
    assert np.array_equal(score_rows(other, datamodule, rows), scores)


@pytest.mark.parametrize("method", METHODS)
def test_it_has_a_learning_rate_of_its_own(world, method):
    data, encoder = world
    module = METHODS[method](data, encoder, tune_encoder=True, encoder_lr_factor=0.1, lr=1e-3)
    groups = module.optimizer_settings.groups(module.parameters(), module.rates)
    slow = [group for group in groups if group["lr"] == pytest.approx(1e-4)]
    assert [len(group["params"]) for group in slow] == [2]
    assert all(group["lr"] == 1e-3 for group in groups if group is not slow[0])
    same = METHODS[method](data, encoder, tune_encoder=True, lr=1e-3)
    assert {group["lr"] for group in same.optimizer_settings.groups(same.parameters(), same.rates)} == {1e-3}


def test_it_grows_with_the_fitted_one(world):
    data, _ = world
    encoder = TableEncoder(20, 20, 4)
    module = factory.cora(data, encoder, tune_encoder=True)
    module.grow(2, 3)
    assert len(module.tuned_encoder.users) == len(encoder.users) == 23
    assert len(module.tuned_encoder.items) == len(encoder.items) == 24


def test_two_fits_are_refused(world):
    data, encoder = world
    with pytest.raises(ValueError, match="copies one fit of the encoder"):
        factory.cora(data, TwoFits(encoder, encoder), tune_encoder=True)
    with pytest.raises(ValueError, match="needs untrained_encoder"):
        factory.cora(data, encoder, tune_encoder=True, untrained_encoder=None)


def trained(**options):
    data, encoder = prepared(users=20, items=20, rows_each=12, dim=4)
    module = with_updates(factory.cora(data, encoder, tune_encoder=True, encoder_lr_factor=0.5, batch_size=8))
    datamodule = module.datamodule(data, WORDS, seed=2)
    factory.trainer(max_steps=6, limit_val_batches=0, **options).fit(module, datamodule)
    return trained_state(module)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    processes.assert_two_train_as_one(trained, tmp_path / "together.pt")


def test_a_whole_job_keeps_the_cf_row_of_the_table(tmp_path, home):
    tables = jobs.write_tables(tmp_path / "tables", *jobs.own_tables())
    line = (*jobs.SMALL, "cf=mf", "cf.encoder.biases=true", "model.offset=cf", *tables)
    tuned = jobs.run(tmp_path / "tuned", *line, "model.tune_encoder=true", "model.encoder_lr_factor=0.1")
    plain = jobs.run(tmp_path / "plain", *line)
    assert tuned.collaborative.key == plain.collaborative.key
    assert tuned.method.key != plain.method.key
    row, expected = (
        next(line for line in outcome.metrics["tasks"]["ctr"]["lines"] if line["name"] == "mf")
        for outcome in (tuned, plain)
    )
    assert row == expected
    fitted, copy = tuned.collaborative.encoder, tuned.method.module.tuned_encoder
    assert not torch.equal(copy.users.weight.cpu(), fitted.users.weight.cpu())
    assert torch.equal(fitted.users.weight, plain.collaborative.encoder.users.weight)
