"""Artifacts are made once, keyed by content, whole or absent, also when two runs ask at the same moment."""

import json
import threading

import pytest

from recsys_lora.pipeline.artifacts import ArtifactStore, manifest


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
    assert manifest(again.folder)["depends"] == {"dim": 8, "data": "abc"}


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


def test_what_it_depends_on_is_written_beside_it(tmp_path):
    folder = ArtifactStore(tmp_path).get("cf", "mf", {"dim": 8}, lambda folder: None).folder
    record = json.loads((folder / "artifact.json").read_text())
    assert record["stage"] == "cf"
    assert record["depends"] == {"dim": 8}
