"""Libraries are loaded once, without collections in between, and collections go on as before."""

import gc
import subprocess
import sys

import pytest

from recsys_lora.utils import libraries


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    """Have two small modules for the heavy ones; returns how often objects were left out of collections."""
    for name in ("heavy_a", "heavy_b"):
        (tmp_path / f"{name}.py").write_text("import gc\nCOLLECTS = gc.isenabled()\n")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(libraries, "HEAVY", ("heavy_a", "heavy_b"))
    calls = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.isenabled()))
    yield calls
    for name in ("heavy_a", "heavy_b"):
        sys.modules.pop(name, None)


def test_nothing_is_collected_while_they_are_loaded(frozen):
    libraries.load_libraries()
    assert not sys.modules["heavy_a"].COLLECTS
    assert not sys.modules["heavy_b"].COLLECTS
    assert frozen == [False]
    assert gc.isenabled()


def test_a_second_call_does_nothing(frozen):
    libraries.load_libraries()
    libraries.load_libraries()
    assert len(frozen) == 1


def test_who_collects_nothing_goes_on_so(frozen):
    gc.disable()
    try:
        libraries.load_libraries()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_numpy_comes_before_torch():
    """torch's import of numpy would swallow an interruption."""
    code = "import sys; from recsys_lora.utils import libraries as l; print('torch' in sys.modules, l.HEAVY[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "numpy"]


def test_collections_go_on_where_one_cannot_be_loaded(frozen, monkeypatch):
    monkeypatch.setattr(libraries, "HEAVY", ("heavy_a", "no_such_library"))
    with pytest.raises(ModuleNotFoundError):
        libraries.load_libraries()
    assert gc.isenabled()
    assert not frozen
