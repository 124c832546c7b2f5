"""`recsys-lora recommend`: all lists in one file, going on where it was ended."""

import json
import os
import subprocess
import sys

import polars as pl
import pytest
from filelock import FileLock
from polars.testing import assert_frame_equal

import recsys_lora
from recsys_lora.cli.recommend import main, read_shard
from recsys_lora.cli.settings import RunSettings
from recsys_lora.recommender import batch
from recsys_lora.recommender.batch import ListOptions, recommend_to_file
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.utils.errors import UserError

FEW = ListOptions(k=3, retrieve=5)


@pytest.fixture(scope="module")
def cora(runs):
    return recsys_lora.load(runs("cora"))


@pytest.mark.parametrize(("name", "part"), [("recs.parquet", 7), ("deep/recs.csv", 1000)])
def test_the_file_holds_everybodys_list(cora, tmp_path, name, part):
    out = tmp_path / name
    done = recommend_to_file(cora, None, out, FEW, part)
    found = pl.read_parquet(out) if out.suffix == ".parquet" else pl.read_csv(out)
    right = pl.concat([cora.recommend(user, k=3, retrieve=5) for user in cora.users])
    assert_frame_equal(found, right, rel_tol=1e-5, abs_tol=1e-5)
    assert (done.users, done.rows, done.unknown) == (20, len(right), [])
    assert sorted(path.name for path in out.parent.iterdir() if path.suffix != ".lock") == [out.name]


def test_an_ended_call_goes_on_and_makes_no_part_twice(cora, tmp_path, monkeypatch):
    out, users, asked = tmp_path / "recs.parquet", cora.users[:9], []
    recommend = Recommender.recommend

    def ends(self, few, **wanted):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(few)
        return recommend(self, few, **wanted)

    monkeypatch.setattr(Recommender, "recommend", ends)
    with pytest.raises(KeyboardInterrupt):
        recommend_to_file(cora, users, out, FEW, 2)
    assert not out.exists()
    assert asked == [users[:2], users[2:4]]
    monkeypatch.setattr(Recommender, "recommend", lambda self, few, **w: asked.append(few) or recommend(self, few, **w))
    recommend_to_file(cora, users, out, FEW, 2)
    assert asked[2:] == [users[4:6], users[6:8], users[8:]]
    right = pl.concat([recommend(cora, user, k=3, retrieve=5) for user in users])
    assert_frame_equal(pl.read_parquet(out), right, rel_tol=1e-5, abs_tol=1e-5)


def test_parts_of_another_command_are_not_taken(cora, tmp_path, monkeypatch):
    out, users = tmp_path / "recs.parquet", cora.users[:4]
    monkeypatch.setattr(batch, "_join", lambda parts, out: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recommend_to_file(cora, users, out, FEW, 2)
    monkeypatch.undo()
    recommend_to_file(cora, users, out, ListOptions(k=1), 2)
    assert pl.read_parquet(out).height == 4


def test_two_processes_do_not_write_one_file(cora, tmp_path):
    with FileLock(tmp_path / ".recs.parquet.lock"), pytest.raises(UserError, match="another process writes it"):
        recommend_to_file(cora, None, tmp_path / "recs.parquet", FEW)


def test_the_command_line_does_the_same(runs, cora, tmp_path):
    (tmp_path / "users.txt").write_text("u3\nghost\n\nu1\nu3\n")
    events = [{"user": "u3", "item": "new", "rating": 5}, {"user": "later", "item": "new", "rating": 5}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (tmp_path / "items.csv").write_text("item,title\nnew,Newest\n")
    line = [sys.executable, "-m", "recsys_lora", "recommend", f"run={runs('cora')}", "users=users.txt", "k=4"]
    line += ["out=recs.parquet", "retrieve=6", "events=events.jsonl", "items=items.csv", "device=cpu"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "recs.parquet: 8 rows for 2 users" in done.stdout
    assert "left out, as the run does not know them: 1 user: 'ghost'" in done.stdout
    own = recsys_lora.load(runs("cora"))
    own.add_items([("new", "Newest")])
    own.update([("u3", "new", 5.0), ("later", "new", 5.0)])
    right = own.recommend(["u3", "u1"], k=4, retrieve=6)
    assert_frame_equal(pl.read_parquet(tmp_path / "recs.parquet"), right, rel_tol=1e-5, abs_tol=1e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "run, out: has to be given: recsys-lora recommend run=RUN out=OUT [NAME=VALUE ...]"),
        (["out=x.parquet", "run=nowhere"], "nowhere: no such folder: give the folder of a run"),
        (["out=x.txt", "run=RUN"], "out=x.txt: unknown kind of file"),
        (["out=x.csv", "run=RUN", "users=none.txt"], "none.txt: cannot be read (No such file or directory)"),
        (["out=x.csv", "run=RUN", "users=none.csv"], "none.csv: no such file"),
        (["out=x.csv", "k=0"], "k=0: Input should be greater than or equal to 1"),
        (["out=x.csv", "zz=3"], "zz: no setting of recommend: valid: device, events, exclude_seen, items, k, out"),
        (["retrive=3"], "retrive: no setting of recommend: did you mean retrieve?"),
        (["k=1", "k=2"], "k: given twice"),
        (["all"], "all: write NAME=VALUE"),
        (["out=x.csv", "run=RUN", "shard=5/4"], "shard=5/4: give I/N with I from 1 to N"),
        (["out=.", "run=RUN"], "out=.: unknown kind of file"),
        (["out=x.csv", "run=RUN", "shard=2"], "shard=2: give I/N"),
    ],
)
def test_a_mistake_is_one_line(runs, more, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main([word.replace("RUN", str(runs("mf"))) for word in more])
    assert left.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")


def test_a_folder_of_runs_is_its_newest_run_to_a_verb(runs, tmp_path, capsys):
    for name in ("mf-table", "sweeps/first"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "one").symlink_to(runs("mf"))
    for folder, one in (("runs/mf-table", "one"), ("runs", "sweeps/first/one")):
        main([f"out={tmp_path / 'recs.csv'}", f"run={tmp_path / folder}", "k=1"])
        assert f"{tmp_path / folder}: its newest run, {one}" in capsys.readouterr().out
    assert pl.read_csv(tmp_path / "recs.csv")["rank"].unique().to_list() == [1]


def test_shares_are_everybody_once(cora, tmp_path):
    parts = []
    for number in (1, 2, 3):
        out = tmp_path / f"{number}.parquet"
        recommend_to_file(cora, None, out, ListOptions(k=1, retrieve=2), share=read_shard(f"{number}/3"))
        parts.append(pl.read_parquet(out)["user"].to_list())
    assert sorted(user for part in parts for user in part) == sorted(cora.users)
    assert [len(part) for part in parts] == [7, 7, 6]
    with pytest.raises(UserError, match="no user is in this share"):
        recommend_to_file(cora, ["u1"], tmp_path / "x.csv", FEW, share=read_shard("2/2"))


def test_users_that_are_all_unknown_are_refused(cora, tmp_path):
    with pytest.raises(UserError, match="the run knows none of them: 'x', 'y': give ids"):
        recommend_to_file(cora, ["x", "y"], tmp_path / "recs.csv", FEW)
    with pytest.raises(UserError, match=r"none of them: 'U3', 'y' \(close to 'U3': 'u3'\): give ids"):
        recommend_to_file(cora, ["U3", "y"], tmp_path / "recs.csv", FEW)
    done = recommend_to_file(cora, ["u3", "u33"], tmp_path / "recs.csv", FEW)
    assert done.unknown_line == "1 user: 'u33' (close to 'u33': 'u3', 'u13')"


def test_the_help_names_every_setting(capsys):
    main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown for name in ("run", "users", "exclude_seen", "events", "device"))
    assert "recommendations per user (10)" in shown


def test_a_folder_that_takes_no_file_is_refused_before_anything_is_loaded(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    monkeypatch.setattr(RunSettings, "load", None)
    with pytest.raises(SystemExit):
        main([f"out={tmp_path / 'recs.csv'}", f"run={runs('mf')}"])
    assert "recs.csv: nothing can be written into this folder: choose another place" in capsys.readouterr().err
