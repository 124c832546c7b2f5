import pytest


@pytest.fixture(autouse=True)
def own_cache(home):
    """Keep fetched files out of the person's cache."""
