"""The database behind the readers."""

import threading

import duckdb
import numpy as np
import polars as pl
import pytest

from recsys_lora.data import engine as module
from recsys_lora.data.engine import engine as open_engine
from recsys_lora.data.engine import name, text
from recsys_lora.utils.errors import UserError


def test_values_go_in_and_out(engine):
    odd = 'say "it\'s"'
    engine.fill("t", {odd: ("VARCHAR", ["a", None, odd]), "n": ("BIGINT", [1, 2, None])})
    assert engine.rows("SELECT * FROM t") == [("a", 1), (None, 2), (odd, None)]
    assert engine.value(f"SELECT n FROM t WHERE {name(odd)} = {text('a')}") == 1
    assert engine.value("SELECT n FROM t WHERE false") is None
    assert engine.columns("t") == {odd: "VARCHAR", "n": "BIGINT"}
    assert (engine.count("t"), engine.delete("t", "n > 1"), engine.count("t")) == (3, 1, 2)


def test_frames_of_other_libraries_can_be_selected_from(engine):
    frame = pl.DataFrame({"a": [1, 2]})
    arrays = {"a": np.array([1, 2])}
    for found in (frame, arrays):
        engine.connection.register("given", found)
        assert engine.rows("SELECT sum(a) FROM given") == [(3,)]


def test_the_scratch_folder_is_of_its_own_and_vanishes(tmp_path):
    beside = tmp_path / "out"
    with open_engine(beside) as first, open_engine(beside) as second:
        assert first.scratch != second.scratch
        assert {path.suffix for path in tmp_path.iterdir()} == {".tmp"}
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_into_memory_goes_to_disk(tmp_path):
    with open_engine(tmp_path / "out", memory="100MB") as opened:
        opened.run("CREATE TABLE t AS SELECT range AS n, md5(range::VARCHAR) AS hash FROM range(3000000)")
        opened.run("CREATE TABLE s AS SELECT * FROM t ORDER BY hash")
        assert opened.rows("SELECT count(*), sum(n) FROM s") == [(3_000_000, 3_000_000 * 2_999_999 // 2)]
        assert sum(path.stat().st_size for path in opened.scratch.rglob("*") if path.is_file()) > 50e6


def test_a_full_disk_is_said(engine, monkeypatch):
    class Full:
        def execute(self, *_):
            raise duckdb.IOException('Could not write file "x": No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(engine, "connection", Full())
        with pytest.raises(UserError, match=r"the disk is full \(\d+ MiB free\)"):
            engine.run("SELECT 1")


def test_too_little_room_for_what_does_not_fit_is_said(tmp_path):
    with open_engine(tmp_path / "out", memory="50MB") as opened:
        opened.run("SET max_temp_directory_size = '1MB'")
        with pytest.raises(UserError, match="make room on this disk"):
            opened.run("CREATE TABLE t AS SELECT range AS n, md5(range::VARCHAR) AS hash FROM range(3000000)")


def test_other_errors_are_those_of_duckdb(engine):
    with pytest.raises(duckdb.BinderException, match="nothing"):
        engine.run("SELECT nothing")


def test_an_interruption_stops_the_statement(engine, monkeypatch):
    def interrupted(self, work, what, total, unit):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Engine, "_watch", interrupted)
    done = threading.Event()
    threading.Timer(60, lambda: done.is_set() or engine.connection.interrupt()).start()
    with pytest.raises(KeyboardInterrupt):
        engine.run("SELECT count(*) FROM range(100000) a, range(100000) b WHERE a.range * b.range % 7 = 3")
    done.set()


def test_long_statements_show_how_far_they_are(engine, monkeypatch, capsys):
    monkeypatch.setattr(module, "SECONDS_BEFORE_SHOWING", 0.0)
    engine.run("CREATE TABLE t AS SELECT md5(range::VARCHAR) AS hash FROM range(300000)", "hashing", (300_000, "rows"))
    assert capsys.readouterr().out.startswith("hashing: 300000/300000 rows, ")
    engine.run("SELECT 1")
    assert capsys.readouterr().out == ""
