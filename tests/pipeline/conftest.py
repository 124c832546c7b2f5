"""A cache and small tables for the jobs of one test file."""

import pytest

from tests.jobs import own_tables, write_tables


@pytest.fixture(scope="module")
def place(shared):
    """A folder and the overrides that name its tables; the cache is in it."""
    return shared, write_tables(shared, *own_tables())


@pytest.fixture(scope="module")
def tables(place):
    return place[1]
