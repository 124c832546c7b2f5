import numpy as np
import pytest

from recsys_lora.data.loader import Share
from recsys_lora.data.module import PromptData
from recsys_lora.errors import UserError
from tests.data.test_batch import prompt_set
from tests.methods.synthetic import prepared


def datamodule(data, **more):
    built = []

    def build(rows, show=True):
        built.append(rows)
        return prompt_set(rows.item % 7 + 1)

    made = PromptData(data, build, batch_rows=8, seed=1, pad_id=0, **more)
    return made, built


@pytest.fixture
def data():
    return prepared(users=12, items=30, rows_each=12, dim=2)[0]


def test_rows_are_tokenised_once_whatever_is_asked_for(data):
    made, built = datamodule(data, train_rows=40, valid_rows=10, sample_seed=5)
    for stage in ("fit", "validate", "fit"):
        made.setup(stage)
    assert [len(rows) for rows in built] == [40, 10]
    np.testing.assert_array_equal(built[0].row, data.sample("train", 40, 5).row)
    np.testing.assert_array_equal(built[1].row, data.sample("valid", 10, 5).row)


def test_all_rows_are_taken_by_default(data):
    made, built = datamodule(data)
    made.setup("fit")
    assert [len(rows) for rows in built] == [len(data.rows("train")), len(data.rows("valid"))]
    assert len(made.train_dataloader()) == len(data.rows("train")) // 8
    assert sum(len(batch) for batch in made.val_dataloader()) == len(data.rows("valid"))


def test_without_a_trainer_one_process_does_everything(data):
    assert datamodule(data)[0].share == Share(0, 1)


@pytest.mark.parametrize(("split", "knob"), [("train", "train_rows"), ("valid", "valid_rows")])
def test_rows_of_one_class_are_refused(data, split, knob):
    made, _ = datamodule(data, **{knob: 1})
    with pytest.raises(UserError, match=f"{split} rows: all 1 have the label .*data.{knob}"):
        made.setup("fit")


def test_a_split_without_rows_is_refused(data):
    without = type(data)(
        data.folder, data.manifest, data.interactions.filter(data.interactions["split"] != "valid"), data.items
    )
    made, _ = datamodule(without)
    with pytest.raises(UserError, match="valid rows: there are none"):
        made.setup("fit")
