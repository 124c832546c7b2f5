import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep fetched files out of the person's cache."""
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
