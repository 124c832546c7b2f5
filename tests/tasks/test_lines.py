"""Every line's scores as a file."""

import numpy as np
import polars as pl
import pytest

from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.lines import SHOWN, read_lines, write_lines
from recsys_lora.tasks.predictions import scores_of
from recsys_lora.tasks.record import Answered
from recsys_lora.utils.errors import UserError
from tests.tasks import examples, world


def test_a_file_says_what_each_question_is_about(tmp_path):
    data = world.many()
    questions = ClickThrough(**world.prompts()).questions(data, "test", 9, 0)
    scores = np.random.default_rng(0).normal(size=(2, len(questions)))
    sample = Answered("c", "method_shuffled", scores[0][:3], np.arange(3))
    write_lines(tmp_path / "a.parquet", data, questions, [*map(Answered, "ab", ("method", "cf"), scores), sample])
    table = read_lines(tmp_path / "a.parquet")
    assert [column for column in table.columns if column.startswith("score")] == ["score of a", "score of b"]
    np.testing.assert_array_equal(table["score of b"].to_numpy(), scores[1])
    train = data.rows("train")
    for place, row in enumerate(table.to_dicts()):
        user, item, position = (int(getattr(questions, name)[place]) for name in ("user", "item", "position"))
        before = data.history.items[data.history.offsets[user] :][:position]
        assert row["history"] == [data.titles[one] for one in before[-SHOWN:]]
        assert row["history_length"] == position
        assert row["title"] == data.titles[item]
        assert (row["user_id"], row["item_id"]) == (data.raw_user_ids[user], data.raw_item_ids[item])
        assert row["item_rows"] == (train.item == item).sum()
        assert row["user_rows"] == (train.user == user).sum()


def test_candidates_have_a_list_of_scores(tmp_path):
    questions = examples.questions_of(world.many(), 20)["topk"]
    scores = np.where(questions.items > 0, np.random.default_rng(0).normal(size=questions.items.shape), -np.inf)
    write_lines(tmp_path / "a.parquet", world.many(), questions, [Answered("a", "method", scores)])
    np.testing.assert_array_equal(scores_of(read_lines(tmp_path / "a.parquet")["score of a"]), scores)


def test_something_else_is_named(tmp_path):
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_lines(tmp_path / "a.parquet")
    pl.DataFrame({"row": [1]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match="no column user_id, item_id"):
        read_lines(tmp_path / "b.parquet")
