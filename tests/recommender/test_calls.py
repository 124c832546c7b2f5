"""Calls that are answered together get what each gets alone, and are computed together."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import recsys_lora
from recsys_lora.recommender.calls import ListCall, ScoreCall, SimilarCall
from recsys_lora.recommender.queries import UnknownIdError
from recsys_lora.utils.errors import UserError

COLD = "i29"


@pytest.fixture
def cora(runs):
    return recsys_lora.load(runs("cora"))


def same(left, right):
    assert_frame_equal(left, right, rel_tol=1e-5, abs_tol=1e-5)


@pytest.mark.parametrize("name", ["cora", "cora-offset", "cora-tuned", "ckf", "zero_shot", "mf"])
def test_calls_answered_together_get_what_each_gets_alone(runs, name):
    calls = [
        ScoreCall([("u1", "i1"), ("u2", "i5"), ("u1", COLD)]),
        ScoreCall([("u1", "i1")]),
        ScoreCall([("u1", "i1")], history=["i3", "i4"]),
        ScoreCall([("u1", "i1")], history=["i4", "i3", "i8"]),
        ScoreCall([("u4", "i2"), ("u4", "i3")], position=[0, 1]),
        ScoreCall([("u1", "nothing")]),
        ScoreCall([]),
        ListCall(["u1", "u4"], k=4, retrieve=6),
        ListCall(["u1"], k=2, retrieve=6),
        ListCall(["u1"], k=2, retrieve=3),
        ListCall(["new"], k=3, retrieve=6, history=["i1", "i3"]),
        ListCall(["new"], k=3, retrieve=6, history=["i2"]),
        ListCall(["new", None], k=3, retrieve=6, history={"new": []}),
        ListCall(["u2"], candidates=["i1", "i5", "i7"], exclude_seen=False),
        ListCall(["u2"], candidates=["i1", "i5", "i8"], exclude_seen=False),
        ListCall(["who"]),
        ListCall(["u1"], k=0),
        SimilarCall("i3", 3),
        SimilarCall("nothing"),
    ]
    recommender = recsys_lora.load(runs(name))
    for call, found in zip(calls, recommender.answer(calls), strict=True):
        [alone] = recommender.answer([call])
        if isinstance(alone, UserError):
            assert (type(found), str(found)) == (type(alone), str(alone))
        else:
            same(found, alone)
    assert recommender.answer([]) == []


def test_a_history_is_what_the_user_has_met(runs, cora):
    found = cora.history("u3")
    rows = runs.interactions.filter(pl.col("user_id") == "u3").sort("timestamp")
    assert found["item"].to_list() == rows["item_id"].to_list()
    assert found["rating"].to_list() == rows["rating"].to_list()
    assert found["liked"].to_list() == (rows["rating"] > 3).to_list()
    cora.update([("later", "i2", 1.0), ("later", "i1", 5.0)])
    assert cora.history("later").rows() == [("i2", "Thing 2", 1.0, False), ("i1", "Thing 1", 5.0, True)]
    with pytest.raises(UnknownIdError, match="user 'who'"):
        cora.history("who")
