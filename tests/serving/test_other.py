"""A second run behind the same server: its own routes, the same data, both in one look."""

import pytest

import recsys_lora
from recsys_lora.serving.app import make_app
from recsys_lora.serving.service import Options
from recsys_lora.utils.errors import UserError
from tests.serving.test_app import TOKEN, asked, error, same, table

CALLS = [
    ("/recommend", {"users": ["u4"], "k": 5, "retrieve": 8}),
    ("/recommend", {"users": ["u2"], "candidates": ["i1", "i2", "i5"], "exclude_seen": False, "history": ["i3"]}),
    ("/score", {"pairs": [["u1", "i1"], ["u2", "i1"]]}),
    ("/similar", {"item": "i3", "k": 4}),
]


@pytest.fixture(scope="module")
def second(runs):
    return recsys_lora.load(runs("cora-offset"))


@pytest.fixture
def both(client_of, second):
    return client_of(other=second)


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_each_run_answers_at_its_own_routes(both, cora, second, path, body):
    for prefix, recommender in (("", cora), ("/other", second)):
        right = asked(recommender, path, body)
        same(table(both.post(f"{prefix}{path}", json=body), right), right)


def test_each_run_is_described(both, client, cora, second):
    first, beside = both.get("/run").json(), both.get("/other/run").json()
    assert first["other"] == beside["run"] == second.run.folder.name
    assert (first["run"], beside["other"]) == (cora.run.folder.name, None)
    assert client.get("/run").json()["other"] is None
    assert client.get("/other/run").status_code == 404


def test_a_token_guards_both(client_of, second):
    client = client_of(Options(token="sesame"), other=second)
    assert error(client.get("/other/run"), 401)[0] == "unauthorized"
    assert client.get("/other/run", headers=TOKEN).status_code == 200


def test_both_count_and_both_are_documented(both):
    both.post("/other/score", json={"pairs": [["u1", "i1"]]})
    assert 'recsys_lora_requests_total{route="/other/score",status="200"} 1' in both.get("/metrics").text
    paths = both.get("/openapi.json").json()["paths"]
    assert {"/recommend", "/other/recommend", "/other/history"} <= set(paths)


def test_runs_of_other_data_are_refused(cora, runs):
    other = recsys_lora.load(runs("cora-offset"))
    other.add_items([("new", "A New Thing")])
    with pytest.raises(UserError, match=r"other=.*: has other users or items than run=.*: serve two runs of one data"):
        make_app(cora, None, other)
