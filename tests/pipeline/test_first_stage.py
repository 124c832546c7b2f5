"""A method that starts from another's low-rank updates: the stage before is a run's own, made once."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from recsys_lora.config.edge import read_run
from recsys_lora.lowrank import Generated
from recsys_lora.pipeline.job import execute
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, composed, run
from tests.methods.asking import score_rows
from tests.rounding import SUM, assert_close

TALLREC = (*NO_METHOD, "model=tallrec", "model.batch_size=8", "evaluation.zero_shot=false")


def twice(folder, tables, *overrides: str, first: tuple[str, ...] = ()):
    """Run TALLRec behind TALLRec: `overrides` are the second's, `first` those of the one before."""
    cfg = composed(*TALLREC, *tables, *overrides, run=folder)
    cfg.first = OmegaConf.create(OmegaConf.to_container(composed(*TALLREC, *tables, *first).model, resolve=True))
    folder.mkdir()
    return execute(read_run(cfg), folder)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_the_second_stage_starts_where_the_first_ended(tables, tmp_path):
    alone = run(tmp_path / "alone", *TALLREC, *tables)
    second = twice(tmp_path / "second", tables, "model.optimizer.lr=1e-30", "model.optimizer.weight_decay=0")
    expected = weights(tmp_path / "alone" / "checkpoints" / "best.ckpt")
    found = weights(tmp_path / "second" / "checkpoints" / "best.ckpt")
    assert expected.keys() == found.keys()
    assert any(value.abs().max() > 0 for name, value in expected.items() if name.endswith("P"))
    for name, value in expected.items():
        assert_close(found[name], value, SUM, what=name)
    assert second.method.key != alone.method.key
    # a run of TALLRec alone had made the first stage already
    assert not (tmp_path / "second" / "first").exists()


def test_a_first_stage_made_on_the_way_serves_a_run_of_its_own(tables, tmp_path):
    options = "model.optimizer.lr=0.002"
    twice(tmp_path / "second", tables, first=(options,))
    assert (tmp_path / "second" / "first" / "checkpoints" / "best.ckpt").is_file()
    assert (tmp_path / "second" / "first" / "metrics.csv").is_file()
    assert run(tmp_path / "alone", *TALLREC, *tables, options).method.training["reused"]


def test_updates_of_another_shape_are_refused_before_anything_is_made(tables, tmp_path):
    with pytest.raises(UserError, match=r"^first.rank=2: both stages have the same updates, but model.rank is another"):
        twice(tmp_path / "second", tables, first=("model.rank=2",))
    assert not any((tmp_path / "second").iterdir())


CORA = (
    *NO_METHOD,
    "model.batch_size=8",
    "evaluation.zero_shot=false",
    "cf=mf",
    "model=cora_tuned",
)


def test_cora_adds_its_weights_to_what_a_first_stage_has_learned_of_the_text(tables, tmp_path):
    own = "model.rank=4", "model.targets=[q_proj,up_proj]", "model.prompt.history_items=3"
    tuned = run(tmp_path / "tuned", *CORA, *tables, *own, "first.optimizer.lr=0.01")
    shared = "model.rank=4", "model.alpha=32.0", "model.targets=[q_proj,up_proj]", "model.dropout=0.05"
    alone = run(
        tmp_path / "alone", *TALLREC, *tables, *shared, "model.prompt.history_items=3", "model.optimizer.lr=0.01"
    )
    assert alone.method.training["reused"]
    module, datamodule = tuned.method.module, tuned.method.datamodule
    rows = tuned.data.rows("test")
    trained, text = score_rows(module, datamodule, rows), score_rows(alone.method.module, alone.method.datamodule, rows)
    assert np.abs(trained - text).max() > 1e-3
    with torch.no_grad():
        for source in module.modules():
            if isinstance(source, Generated):
                source.P.zero_()
    assert_close(score_rows(module, datamodule, rows), text)


def test_fixed_updates_stay_as_they_are_and_tuned_ones_learn(tables, tmp_path):
    for kind in ("fixed", "tuned"):
        run(tmp_path / kind, *CORA, *tables, f"model.text_lora={kind}", "first.optimizer.lr=0.01")
    first = weights(tmp_path / "fixed" / "first" / "checkpoints" / "best.ckpt")
    learned = {name: value for name, value in first.items() if name.endswith(("A", "P"))}
    assert learned
    for kind in ("fixed", "tuned"):
        found = weights(tmp_path / kind / "checkpoints" / "best.ckpt")
        same = [torch.equal(found[name], value) for name, value in learned.items()]
        assert all(same) if kind == "fixed" else not all(same)


def test_a_first_stage_may_learn_from_items(tables, tmp_path):
    options = "model.train_on=items", "model.prompt.history_items=0"
    second = twice(tmp_path / "second", tables, first=options)
    alone = run(tmp_path / "alone", *TALLREC, *tables, *options)
    assert alone.method.training["reused"]
    assert alone.method.key != second.method.key
    assert alone.method.datamodule.train_on == "items"


def test_a_mistake_of_the_first_stage_is_said_to_be_of_it(tables, tmp_path):
    with pytest.raises(UserError, match=r"^first stage: .* lower the learning rate \(first\.optimizer\.lr\)"):
        run(tmp_path / "tuned", *CORA, *tables, "first.optimizer.lr=1e20", "test=false")


def test_tasks_that_the_data_decide_are_judged_before_anything_is_fitted(tables, tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match=r"^first.train_on=items: .* set tasks=\[ctr\] or first.train_on=rows$"):
        run(tmp_path / "tuned", *CORA, *tables, "first.train_on=items", "tasks=null", "test=false")
    assert [path.name for path in (tmp_path / "home" / "artifacts").iterdir()] == ["prepare"]
