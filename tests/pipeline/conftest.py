"""A cache and small tables for the jobs of one test file."""

import pytest

from tests.jobs import own_tables, write_tables


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Yield a folder and the overrides that name its tables; the cache is in it."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        yield folder, write_tables(folder, *own_tables())


@pytest.fixture(scope="module")
def tables(place):
    return place[1]
