import dataclasses

import numpy as np
import polars as pl
import pytest

from recsys_lora.errors import UserError
from recsys_lora.evaluation.predictions import read_predictions, write_predictions
from tests.evaluation.examples import predictions

USERS = ["", *(f"u{n}" for n in range(1, 31))]
ITEMS = ["", *(f'"i, {n}"\n' for n in range(1, 51))]


def test_what_is_written_is_read(tmp_path):
    pred = predictions(rows=80)
    path = tmp_path / "new folder" / "test.parquet"
    write_predictions(path, pred, USERS, ITEMS)
    again = read_predictions(path)
    for field in dataclasses.fields(pred):
        before, after = getattr(pred, field.name), getattr(again, field.name)
        if field.name == "warm":
            assert before.keys() == after.keys()
            for name in before:
                np.testing.assert_array_equal(before[name], after[name])
        else:
            np.testing.assert_array_equal(before, after)
    table = pl.read_parquet(path)
    assert table["user_id"].to_list() == [USERS[u] for u in pred.user]
    assert table["item_id"].to_list() == [ITEMS[i] for i in pred.item]
    assert table["warm_notebook"].null_count() == (pred.warm["notebook"] == -1).sum()
    assert [p.name for p in path.parent.iterdir()] == ["test.parquet"]


def test_no_rows_round_trip(tmp_path):
    empty = predictions(rows=10).take(np.zeros(10, dtype=bool))
    write_predictions(tmp_path / "p.parquet", empty, USERS, ITEMS)
    assert len(read_predictions(tmp_path / "p.parquet")) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not parquet", "cannot be read as Parquet"),
        (None, "cannot be read as Parquet"),
        (pl.DataFrame({"row": [1]}), "no column user, item"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "p.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.write_parquet(path)
    with pytest.raises(UserError, match=message) as error:
        read_predictions(path)
    assert str(path) in str(error.value)


def test_only_keeps_the_rows_asked_for():
    pred = predictions(rows=20)
    assert pred.only(np.array([1003, 1001])).row.tolist() == [1001, 1003]
    with pytest.raises(ValueError, match="do not hold"):
        pred.only(np.array([5]))
