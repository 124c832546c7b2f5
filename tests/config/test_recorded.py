"""What a run has written is read as plain values, whoever wrote it: nothing is resolved, made or multiplied."""

import time

import pytest

from recsys_lora.config.recorded import merged, read_overrides, read_recorded, write_recorded
from recsys_lora.utils.errors import UserError
from tests.jobs import SMALL, resolved

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.yaml"


def test_what_is_written_is_read_again(path):
    config = resolved(*SMALL, "tags=['1e-5','2026-01-01','no','a: b']", "model.optimizer.lr=1e-20")
    write_recorded(path, config)
    assert read_recorded(path) == config


def test_a_container_in_two_places_is_written_twice(path):
    shared = [1, 2]
    write_recorded(path, {"a": shared, "b": shared})
    assert read_recorded(path) == {"a": [1, 2], "b": [1, 2]}


def test_interpolations_stay_characters(path, monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret")
    path.write_text("model: {name: '${oc.env:TOKEN}'}\ncf: ${nothing:${x}}\n")
    assert read_recorded(path) == {"model": {"name": "${oc.env:TOKEN}"}, "cf": "${nothing:${x}}"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BOMB.encode(), "it has YAML aliases"),
        (b"[" * 100_000, "nest"),
        (b"a: " * 200 + b"b", "no YAML"),
        (b"a: " + b"x" * (5 << 20), "more than 4 MiB"),
        (b"a: [", "no YAML"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"", "no settings are in it"),
        (b"- a", "no settings are in it"),
        (b"a: !!python/object/apply:os.system [touch ran]", "no YAML"),
        (b"a: !!python/name:os.system", "no YAML"),
        (b"a: 2026-01-01", "a value in it is a date"),
        (b"a: !!set {b}", "a value in it is a set"),
        (b"a: !!binary aGk=", "a value in it is a bytes"),
        (b"a: 2026-99-99", "month must be in 1..12"),
        (b"? [a, b]\n: c", "no YAML"),
        (b"a: \x00", "no YAML"),
    ],
)
def test_what_no_run_writes_is_one_line_within_a_second(path, content, said):
    path.write_bytes(content)
    begun = time.process_time()
    with pytest.raises(UserError) as refusal:
        read_recorded(path)
    assert time.process_time() - begun < 1
    line = str(refusal.value)
    assert line.startswith(f"{path}: cannot be read as what a run writes (")
    assert said in line
    assert len(line.splitlines()) == 1


def test_a_file_that_is_not_there_is_one_line(path):
    with pytest.raises(UserError, match="No such file"):
        read_recorded(path)


@pytest.mark.parametrize("content", ["a: 1", "- 1", "- [a]", "x"])
def test_overrides_are_a_list_of_texts(path, content):
    path.write_text("- seed=1\n- model=cora\n")
    assert read_overrides(path) == ["seed=1", "model=cora"]
    path.write_text(content)
    with pytest.raises(UserError, match="no list of overrides"):
        read_overrides(path)


def test_changes_reach_any_depth_and_leave_the_rest():
    config = {"llm": {"path": "a", "dtype": "auto"}, "seed": 1}
    assert merged(config, {"llm": {"path": "b"}, "x": {"y": 2}}) == {
        "llm": {"path": "b", "dtype": "auto"},
        "seed": 1,
        "x": {"y": 2},
    }
    assert config == {"llm": {"path": "a", "dtype": "auto"}, "seed": 1}
