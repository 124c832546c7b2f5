"""How all tests run.

One thread: the models of the tests are so small that a second one only waits, badly so on a busy machine. SIGINT is
answered, also where the tests are started in the background of a shell, which ignores it: commands that tests start
and interrupt would inherit that.
"""

import gc
import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; commands that tests start inherit it
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Import all tests as `recsys_lora.utils.libraries` says, which takes a third less time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache of the test's own, beside what it writes."""
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Yield a folder for what the tests of one file share; the cache is in it."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        yield folder
