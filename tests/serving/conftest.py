"""A finished run behind an app, for the tests of this folder."""

import pytest
from fastapi.testclient import TestClient

import recsys_lora
from recsys_lora.serving.app import make_app
from tests.finished import finished_runs  # noqa: F401


@pytest.fixture(scope="session")
def cora(runs):
    """A recommender, which no test changes."""
    return recsys_lora.load(runs("cora"))


@pytest.fixture
def client_of(cora):
    """Return what opens an app with options; all are closed at the end."""
    opened = []

    def start(options=None, recommender=cora, other=None, **how):
        client = TestClient(make_app(recommender, options, other), **how)
        client.__enter__()
        opened.append(client)
        return client

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(client_of):
    return client_of()
