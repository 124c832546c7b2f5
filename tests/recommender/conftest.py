"""Finished runs for the tests of this folder."""

import shutil

import pytest

from tests.finished import Runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recommender")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        yield Runs(folder)
    shutil.rmtree(folder)
