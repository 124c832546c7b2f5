"""Artifacts are made once, keyed by content, whole or absent, also when two runs ask at the same moment."""

import errno
import threading

import pytest

from recsys_lora.pipeline.artifacts import ArtifactStore, manifest
from recsys_lora.utils.files import file_sha256


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Keep remembered checksums out of the person's cache."""
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path_factory.mktemp("home")))


def test_an_artifact_is_made_once_and_then_found(tmp_path):
    store, made = ArtifactStore(tmp_path), []

    def make(folder):
        made.append(folder)
        (folder / "value.txt").write_text("42")

    first = store.get("cf", "mf", {"dim": 8, "data": "abc"}, make)
    again = store.get("cf", "mf", {"data": "abc", "dim": 8}, make)
    assert len(made) == 1
    assert (first.reused, again.reused) == (False, True)
    assert first.folder == again.folder
    assert (again.folder / "value.txt").read_text() == "42"
    record = manifest(again.folder)
    assert (record["stage"], record["depends"]) == ("cf", {"dim": 8, "data": "abc"})


def test_another_dependency_is_another_artifact(tmp_path):
    store = ArtifactStore(tmp_path)
    keys = {store.get("cf", "mf", {"dim": dim}, lambda folder: None).key for dim in (8, 16)}
    keys.add(store.get("method", "mf", {"dim": 8}, lambda folder: None).key)
    assert len(keys) == 3


def test_a_failed_stage_leaves_nothing_and_can_be_made_again(tmp_path):
    store = ArtifactStore(tmp_path)

    def fail(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        store.get("cf", "mf", {}, fail)
    assert not [path for path in (tmp_path / "cf").iterdir() if path.is_dir()]
    assert not store.get("cf", "mf", {}, lambda folder: None).reused


def test_force_makes_it_again_and_replaces_the_old(tmp_path):
    ArtifactStore(tmp_path).get("cf", "mf", {}, lambda folder: (folder / "v").write_text("old"))
    forced = ArtifactStore(tmp_path, frozenset({"cf"}))
    artifact = forced.get("cf", "mf", {}, lambda folder: (folder / "v").write_text("new"))
    assert not artifact.reused
    assert (artifact.folder / "v").read_text() == "new"
    assert sorted(path.name for path in artifact.folder.iterdir()) == ["artifact.json", "v"]


def test_two_runs_at_once_make_one_artifact(tmp_path):
    made, barrier = [], threading.Barrier(4)

    def run():
        barrier.wait()
        ArtifactStore(tmp_path).get("cf", "mf", {"dim": 8}, lambda folder: made.append(folder))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def kept(store, content="42"):
    made = []

    def make(folder):
        made.append(1)
        (folder / "deep").mkdir()
        (folder / "value.txt").write_text(content)
        (folder / "deep" / "more.bin").write_bytes(bytes(range(200)))

    return lambda: (store.get("cf", "mf", {"dim": 8}, make), len(made))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: flip_a_bit(folder / "value.txt"), "value.txt has changed since it was written"),
        (lambda folder: flip_a_bit(folder / "deep" / "more.bin"), "more.bin has changed"),
        (lambda folder: (folder / "value.txt").write_text(""), "value.txt has changed"),
        (lambda folder: (folder / "value.txt").unlink(), "value.txt is missing"),
        (lambda folder: (folder / "artifact.json").unlink(), "artifact.json cannot be read"),
        (lambda folder: (folder / "artifact.json").write_text("{}"), "artifact.json cannot be read"),
        (lambda folder: (folder / "artifact.json").write_text("[1]"), "artifact.json cannot be read"),
        (lambda folder: (folder / "artifact.json").write_text('{"files": [1]}'), "artifact.json cannot be read"),
    ],
)
@pytest.mark.parametrize("used_before", [False, True])
def test_a_damaged_artifact_is_made_anew_and_says_so(tmp_path, caplog, harm, words, used_before):
    get = kept(ArtifactStore(tmp_path))
    artifact, _ = get()
    if used_before:
        assert get()[0].reused
    harm(artifact.folder)
    again, made = get()
    assert (again.reused, made) == (False, 2)
    assert words in caplog.text
    assert (again.folder / "value.txt").read_text() == "42"
    assert get()[0].reused


def test_contents_are_compared_once_a_machine(tmp_path, monkeypatch):
    get = kept(ArtifactStore(tmp_path))
    get()
    get()
    monkeypatch.setattr("recsys_lora.utils.checksums.file_sha256", lambda path: pytest.fail("read again"))
    assert get()[0].reused
    monkeypatch.undo()
    monkeypatch.setattr("platform.node", lambda: "another")
    compared = []
    monkeypatch.setattr(
        "recsys_lora.utils.checksums.file_sha256", lambda path: (compared.append(path), file_sha256(path))[1]
    )
    assert get()[0].reused
    assert len(compared) == 2


def test_a_complete_cache_that_cannot_be_written_is_used(tmp_path, monkeypatch):
    get = kept(ArtifactStore(tmp_path))
    get()

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert get()[0].reused
