"""Routes answer what the recommender answers; what they refuse has a status, a type and one line."""

import asyncio
import json
import threading

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_lora.recommender.tables import SCHEMA
from recsys_lora.serving.app import make_app
from recsys_lora.serving.batcher import Limits
from recsys_lora.serving.service import Options

TOKEN = {"Authorization": "Bearer sesame"}
CALLS = [
    ("/recommend", {"users": ["u4", "u1"], "k": 5, "retrieve": 8}),
    ("/recommend", {"users": ["u4"], "k": 3, "retrieve": 8}),
    ("/recommend", {"users": ["x"], "k": 5, "retrieve": 6, "history": ["i1", "i2"]}),
    ("/recommend", {"users": ["x"], "k": 5, "retrieve": 6, "history": ["i8"]}),
    ("/recommend", {"users": ["u2"], "candidates": ["i1", "i2", "i5"], "exclude_seen": False}),
    ("/recommend", {"users": [None], "k": 4, "history": []}),
    ("/score", {"pairs": [["u1", "i1"], ["u2", "i1"], ["u1", "i5"]]}),
    ("/score", {"pairs": [["u1", "i29"]]}),
    ("/score", {"pairs": [["u1", "i1"]], "history": ["i3"]}),
    ("/score", {"pairs": [["u1", "i1"], ["u3", "i2"]], "history": {"u1": ["i4", "i7"]}}),
    ("/similar", {"item": "i3", "k": 4}),
]


def asked(recommender, path, body):
    """Return what the recommender says by itself."""
    given = dict(body)
    first = given.pop({"/recommend": "users", "/score": "pairs", "/similar": "item"}[path])
    return getattr(recommender, path[1:])(first, **given)


def table(answer, like):
    assert answer.status_code == 200, answer.text
    return pl.DataFrame(answer.json()["rows"], schema=like.schema)


def same(left, right):
    assert_frame_equal(left, right, rel_tol=1e-5, abs_tol=1e-5)


def error(answer, status):
    assert answer.status_code == status, answer.text
    [(name, problem)] = answer.json().items()
    assert name == "error"
    assert set(problem) == {"type", "message"}
    assert "\n" not in problem["message"]
    return problem["type"], problem["message"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_an_answer_is_the_recommenders(client, cora, path, body):
    right = asked(cora, path, body)
    same(table(client.post(path, json=body), right), right)


def test_numbers_are_ids(client):
    message = error(client.post("/score", json={"pairs": [[7, 8]]}), 404)[1]
    assert message.startswith("user '7': not among the 20 users")


def together(app, calls):
    """Return the answers to requests that are sent at once, and then the metrics."""

    async def ask():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as client,
        ):
            answers = await asyncio.gather(*(client.post(path, json=body) for path, body in calls))
            return [*answers, await client.get("/metrics")]

    return asyncio.run(ask())


def test_requests_at_once_are_one_batch_and_get_what_they_get_alone(cora):
    app = make_app(cora, Options(Limits(window=60.0, max_batch=len(CALLS) + 2)))
    unknown = [("/score", {"pairs": [["u1", "nothing"]]}), ("/recommend", {"users": ["who"]})]
    *found, counted = together(app, [*CALLS, *unknown])
    for (path, body), answer in zip(CALLS, found, strict=False):
        right = asked(cora, path, body)
        same(table(answer, right), right)
    assert "item 'nothing'" in error(found[-2], 404)[1]
    assert "user 'who'" in error(found[-1], 404)[1]
    assert "recsys_lora_batch_requests_count 1\n" in counted.text
    assert f"recsys_lora_batch_requests_sum {len(CALLS) + 2}\n" in counted.text


def test_calls_of_one_kind_go_through_the_model_together(cora, monkeypatch):
    """Twelve requests for a pair each are one batch of prompts."""
    module, seen = cora.run.method.module, []
    forward = type(module).forward

    def counted(self, batch):
        seen.append(len(batch.index))
        return forward(self, batch)

    monkeypatch.setattr(type(module), "forward", counted)
    calls = [("/score", {"pairs": [[f"u{number}", "i3"]]}) for number in range(12)]
    together(make_app(cora, Options(Limits(window=60.0, max_batch=12))), calls)
    assert sum(seen) == 12
    assert len(seen) < 4
    seen.clear()
    together(make_app(cora, Options(Limits(window=0, max_batch=1))), calls)
    assert seen == [1] * 12


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "said"),
    [
        ("/recommend", {"users": ["stranger"]}, 404, "unknown_id", "user 'stranger'"),
        ("/score", {"pairs": [["u1", "x"], ["u1", "y"]]}, 404, "unknown_id", "item 'x', 'y'"),
        ("/similar", {"item": "x"}, 404, "unknown_id", "item 'x'"),
        ("/similar", {"item": "i29"}, 422, "bad_request", "no training row has it"),
        ("/recommend", {"users": ["u1", "u2"], "history": ["i1"]}, 422, "bad_request", "one list for 2 users"),
        ("/recommend", {"users": []}, 422, "bad_request", "users: "),
        ("/recommend", {"users": ["u1"], "k": 0}, 422, "bad_request", "k: "),
        ("/recommend", {"users": ["u1"], "k": 10**30}, 422, "bad_request", "k: "),
        ("/recommend", {"users": ["u1"], "top": 3}, 422, "bad_request", "top: "),
        ("/recommend", {"users": ["u" * 300]}, 422, "bad_request", "users"),
        ("/recommend", {"users": ["\ud800"]}, 422, "bad_request", "users"),
        ("/recommend", {"users": ["x"], "history": {"\ud800": ["i1"]}}, 422, "bad_request", "history"),
        ("/recommend", {}, 422, "bad_request", "users: "),
        ("/score", {"pairs": [["u1"]]}, 422, "bad_request", "pairs"),
        ("/score", {"pairs": [["u1", True]]}, 422, "bad_request", "pairs"),
        ("/recommend", {"users": ["u1"] * 60, "retrieve": 100}, 413, "too_large", "6,000 rows"),
        ("/similar", {"item": "i3", "k": 6000}, 413, "too_large", "6,000 rows"),
    ],
)
def test_what_is_refused_has_a_type_and_a_line(client, path, body, status, kind, said):
    found = error(client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"}), status)
    assert found[0] == kind
    assert said in found[1]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b"null"])
def test_a_body_that_is_no_request_is_refused(client, body):
    answer = client.post("/score", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert error(answer, answer.status_code)[0] == "bad_request"


def test_other_paths_and_methods_are_refused(client):
    assert error(client.get("/nothing"), 404)[0] == "no_route"
    assert error(client.get("/score"), 405)[0] == "no_method"


def test_a_body_that_is_too_large_is_not_read(client_of):
    client = client_of(Options(max_body=100))
    assert error(client.post("/score", json={"pairs": [["u1", "i1"]] * 30}), 413)[0] == "too_large"
    in_parts = (b" " * 60 for _ in range(3))  # without a length
    assert error(client.post("/score", content=in_parts), 413)[0] == "too_large"
    assert client.post("/score", json={"pairs": [["u1", "i1"]]}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sesam"}, {"Authorization": "Basic sesame"}])
def test_without_the_token_there_is_no_answer(client_of, headers):
    client = client_of(Options(token="sesame"))
    for path in ("/run", "/users", "/history?user=u1", "/metrics", "/openapi.json", "/nothing"):
        answer = client.get(path, headers=headers)
        assert error(answer, 401)[0] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get(path, headers=TOKEN).status_code == (404 if path == "/nothing" else 200)
    assert error(client.post("/score", json={"pairs": [["u1", "i1"]]}, headers=headers), 401)[0] == "unauthorized"
    assert client.get("/health", headers=headers).json() == {"status": "ok"}
    assert "u1" not in client.get("/", headers=headers).text


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]:8000"])
def test_a_server_is_called_by_its_own_names(client_of, name):
    client = client_of(Options(hosts=frozenset({"localhost", "127.0.0.1", "::1"})))
    assert client.get("/run", headers={"Host": name}).status_code == 200
    for other in (f"{name}.elsewhere.example", "elsewhere.example:8000", ""):
        assert error(client.get("/run", headers={"Host": other}), 421)[0] == "wrong_host"


class Slow:
    """A recommender that answers when it is let go."""

    def __init__(self, real):
        self.real, self.go = real, threading.Event()

    def __getattr__(self, name):
        return getattr(self.real, name)

    def answer(self, calls):
        assert self.go.wait(20)
        return self.real.answer(calls)


def test_what_takes_too_long_is_given_up(client_of, cora):
    slow = Slow(cora)
    client = client_of(Options(timeout=1.0), slow)
    assert error(client.post("/score", json={"pairs": [["u1", "i1"]]}), 504) == (
        "timeout",
        "no answer within 1 seconds",
    )
    assert client.get("/health").status_code == 200
    slow.go.set()
    assert client.post("/score", json={"pairs": [["u1", "i1"]]}).status_code == 200


def test_too_many_are_sent_away(client_of, cora):
    slow = Slow(cora)
    client = client_of(Options(Limits(window=0, max_waiting=0)), slow)
    answer = client.post("/score", json={"pairs": [["u1", "i1"]]})
    assert error(answer, 503)[0] == "busy"
    assert answer.headers["retry-after"] == "1"


def test_a_fault_is_said_without_its_reason(client_of, cora):
    slow = Slow(cora)
    slow.answer = lambda calls: 1 / 0
    answer = client_of(None, slow, raise_server_exceptions=False).post("/score", json={"pairs": [["u1", "i1"]]})
    assert error(answer, 500) == ("internal", "the server failed: its log says why")


def test_no_other_origin_may_read_answers(client):
    origin = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.options("/score", headers=origin), client.get("/run", headers=origin)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
    text = client.post("/score", content=b'{"pairs": [["u1", "i1"]]}', headers={"Content-Type": "text/plain"})
    assert text.status_code == 422  # what a page may send elsewhere without asking is no JSON


def test_users_are_found_and_their_history_shown(client, cora):
    found = client.get("/users", params={"search": "u1", "limit": 3}).json()
    every = sorted((user for user in cora.users if user.startswith("u1")), key=lambda user: user != "u1")
    assert found == {"users": every[:3], "total": len(every)}
    assert client.get("/history", params={"user": "u3"}).json()["rows"] == cora.history("u3").to_dicts()
    assert error(client.get("/history", params={"user": "who"}), 404)[0] == "unknown_id"


def test_the_run_is_described(client, cora):
    found = client.get("/run").json()
    assert (found["method"], found["cf"], found["data"]) == ("cora", cora.run.collaborative.name, "table")
    assert (found["users"], found["items"]) == (20, 30)


def test_a_run_of_a_cf_model_alone_is_served(client_of, runs):
    import recsys_lora

    client = client_of(None, recsys_lora.load(runs("mf")))
    assert client.get("/run").json()["method"] is None
    rows = client.post("/recommend", json={"users": ["u1"], "k": 2}).json()["rows"]
    assert [row["by"] for row in rows] == ["mf", "mf"]
    assert set(rows[0]) == set(SCHEMA)


def test_metrics_count_routes_and_batches(client):
    client.post("/score", json={"pairs": [["u1", "i1"]]})
    client.get("/no/such/path")
    text = client.get("/metrics").text
    assert 'recsys_lora_requests_total{route="/score",status="200"} 1' in text
    assert 'recsys_lora_requests_total{route="other",status="404"} 1' in text
    assert "recsys_lora_batch_requests_count 1" in text


def test_every_example_of_the_openapi_description_is_answered(client):
    described = client.get("/openapi.json").json()
    asked = 0
    for path, methods in described["paths"].items():
        for example in methods.get("post", {}).get("requestBody", {}).get("content", {}).values():
            for one in example["examples"].values():
                answer = client.post(path, json=one["value"])
                assert answer.status_code == 200, answer.text
                assert answer.json()["rows"]
                asked += 1
    assert asked == 4
    assert "securitySchemes" not in described["components"]
    assert {"401", "404", "413", "422", "503", "504"} <= set(described["paths"]["/score"]["post"]["responses"])
