"""`cf.train_share`: a method trains on rows that its vectors do not know, and is tested with vectors of all."""

import itertools

import torch

from recsys_lora.cf.two_fits import TwoFits
from recsys_lora.methods.cora.module import CoRAModule
from tests.jobs import NO_METHOD, SMALL, run

SHARE = 0.5
LINE = (*SMALL, "row=cora_mf", f"cf.train_share={SHARE}", "data.train_rows=null", "evaluation.zero_shot=false")


def test_a_method_trains_on_the_rest_with_the_first_fit_and_is_tested_with_the_second(tables, tmp_path):
    outcome = run(tmp_path / "two", *LINE, *tables)
    module, data = outcome.method.module, outcome.data
    assert isinstance(module.encoder, TwoFits)
    assert (tmp_path / "two" / "earliest" / "cf" / "metrics.csv").is_file()
    whole = run(tmp_path / "whole", *NO_METHOD, "model=cf", "cf=mf", *tables)
    assert whole.collaborative.key == outcome.collaborative.key.split("-")[0]
    whole = whole.collaborative.encoder
    rows = data.rows("train")
    size = round(SHARE * len(rows))
    asked = outcome.method.datamodule.train_pairs
    assert len(asked.user) == len(rows) - size
    earliest = data.with_train_part(SHARE, "earliest").rows("train")
    assert not set(zip(earliest.user, earliest.item, strict=True)) & set(zip(asked.user, asked.item, strict=True))
    user = torch.arange(1, data.num_users + 1)
    columns = user, torch.zeros(len(user), 0, dtype=torch.long), torch.ones_like(user)
    module.eval()
    assert torch.equal(module.encoder.encode(*columns)[0], whole.encode(*columns)[0])
    module.train()
    first, _ = module.encoder.encode(*columns)
    assert torch.equal(first, outcome.collaborative.first.encode(*columns)[0])
    unknown = ~torch.isin(user, torch.from_numpy(earliest.user))
    assert not torch.equal(first, whole.encode(*columns)[0])
    assert (first[unknown] == 0).all()
    assert not module.encoder.first.training


def test_one_fit_is_the_rule(tables, tmp_path):
    outcome = run(tmp_path / "one", *SMALL, "row=cora_mf", *tables, "evaluation.zero_shot=false")
    assert outcome.collaborative.first is None
    assert outcome.method.module.encoder is outcome.collaborative.encoder


def test_every_training_step_reads_the_first_fit_and_every_validation_the_second(tables, tmp_path, monkeypatch):
    read = []
    encode, step = TwoFits.encode, CoRAModule.training_step

    def watched(self, user, history, item):
        read.append("first" if self.chosen is self.first else "second")
        return encode(self, user, history, item)

    def stepped(self, batch, batch_idx):
        read.append("step")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TwoFits, "encode", watched)
    monkeypatch.setattr(CoRAModule, "training_step", stepped)
    more = "trainer.num_sanity_val_steps=-1", "trainer.val_check_interval=1", "model.rank=3", "test=false"
    run(tmp_path / "watched", *LINE, *more, *tables)
    steps = [place for place, what in enumerate(read) if what == "step"]
    assert len(steps) >= 3
    assert read[steps[0] - 1] == "second"  # the validation before the first step
    assert all(read[place + 1] == "first" for place in steps)
    assert all("second" in read[begin:end] for begin, end in itertools.pairwise(steps))
