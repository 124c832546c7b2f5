"""A method that starts from another's low-rank updates: the stage before is a run's own, made once."""

import pytest
import torch
from omegaconf import OmegaConf

from recsys_lora.config.edge import read_run
from recsys_lora.pipeline.job import execute
from recsys_lora.utils.errors import UserError
from tests.jobs import NO_METHOD, composed, run
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


def test_updates_of_another_shape_are_refused(tables, tmp_path):
    with pytest.raises(UserError, match=r"first: its lowrank\S+ .* meets .* in model=tallrec: give both the same"):
        twice(tmp_path / "second", tables, first=("model.rank=2",))
