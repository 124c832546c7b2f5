"""The benchmarks run, and what makes them fast is there: counted, not timed."""

import argparse
import gzip
import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recsys_lora.tasks.ctr import of_rows
from tests.marks import needs_compiler
from tests.methods import factory
from tests.methods.asking import forwards, prompts_for, score_rows
from tests.methods.ckf import world as ckf
from tests.methods.synthetic import WORDS, prepared

FOLDER = Path(__file__).parents[1] / "benchmarks"
OURS = "this package"


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    """Scripts find their shared modules in their own folder."""
    monkeypatch.syspath_prepend(str(FOLDER))


def script(name):
    return importlib.import_module(name)


def run(name, *arguments):
    return script(name).main([*arguments, "--rounds", "2"])


# The scripts: each checks by itself that both sides compute the same, and ends the run if not


def test_lowrank_rows(capsys, tmp_path):
    rows = run(
        *("lowrank_rows", "--batch", "2", "3", "--tokens", "5", "--rank", "2", "--width", "16", "--layers", "2"),
        *("--json", str(tmp_path / "rows.json")),
    )
    assert len(rows) == 2 * 7
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 + 1 + 14
    assert all(word in printed[0] for word in ("threads", "torch", "dtype float32"))
    assert all(word in printed[-1] for word in ("B 3, T 5, R 2", "frozen maps alone, forward"))
    written = json.loads((tmp_path / "rows.json").read_text())
    assert [result["case"] for result in written["results"]] == [row.case for row in rows]
    assert written["about"]["width"] == 16
    assert written["results"][1]["aim"] == {"value": 10.0, "side": "at least", "of": "ratio"}
    table = script("_table").page_table(tmp_path / "rows.json").splitlines()
    assert len(table) == 2 + 14 + 2
    assert table[2].startswith("| B 2, T 5, R 2 | this package |")
    assert "| >= 10 |" in table[3]
    assert table[-1] == printed[0]


def test_factors_a_row_take_less_memory_than_a_copy_a_token(capsys):
    rows = run("lowrank_rows", "--batch", "4", "--tokens", "32", "--rank", "4", "--width", "64", "--layers", "2")
    peak = {row.case: row.peak_mib for row in rows}
    copies = 2 * 4 * 32 * 64 * 4 * 4 / 2**20  # layers, B, T, in, R, bytes
    assert peak["repeated per token"] > copies > peak[OURS]


def test_scoring(capsys):
    rows = run("scoring", "--llm", "tiny", "--rows", "6", "--batch", "3", "--generated", "2", "--no-memory")
    assert [row.case for row in rows] == [OURS, "padded, full logits", "generate, one by one"]
    assert "2 prompts, scaled" in rows[2].note
    assert "padding" in capsys.readouterr().out


def test_prepare_tables(capsys, tmp_path):
    (row,) = run("prepare_tables", "--rows", "3000", "--folder", str(tmp_path))
    assert row.point == "3,030 reviews"
    assert "reviews/s" in capsys.readouterr().out
    assert json.loads((tmp_path / "3000" / "planted.json").read_text()) == {"lines": 3030, "copies": 30, "broken": 3}


def test_made_up_reviews_are_the_same_for_the_same_seed(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, ("0", "0", "1"), strict=True):
        script("make_amazon_like").main([str(folder), "--rows", "1500", "--seed", seed])
    lines = [gzip.decompress((folder / "reviews.json.gz").read_bytes()) for folder in folders]
    assert lines[0] == lines[1] != lines[2]
    assert lines[0].count(b"\n") == 1515


def test_table_engines():
    rows = run("table_engines", "--rows", "3000")
    assert [row.case for row in rows] == ["DuckDB", "polars"]


def test_ckf_step(capsys):
    rows = run("ckf_step", "--llm", "tiny", "--batch", "8", "--rank", "2")
    assert [row.case for row in rows] == [OURS, "unsplit", "task by task"]
    assert all(row.peak_mib > 0 for row in rows)
    tokens, padding = zip(*[re.findall(r"\d+", row.note) for row in rows], strict=True)
    assert int(tokens[0]) < int(tokens[1])
    assert int(padding[0]) < int(padding[1])


@pytest.mark.slow  # compiles
@needs_compiler
def test_ckf_step_compiled(capsys):
    rows = run("ckf_step", "--llm", "tiny", "--batch", "4", "--rank", "2", "--compiled")
    assert [(row.case, row.reference) for row in rows] == [
        (case, "compiled") for case in (OURS, "compiled", "unsplit", "task by task")
    ]


def test_forward_cost(capsys):
    rows = run("forward_cost", "--llm", "tiny", "--rank", "2", "--no-memory")
    assert [row.case for row in rows][::5] == ["1 of 72 tokens", "8 of 144 tokens"]
    assert re.fullmatch(r"a step itself: -?\d+ ms, or -?\d+ tokens", rows[0].note)


def test_what_a_forward_costs_is_where_the_line_meets_no_tokens():
    start, tokens = script("forward_cost").cost([100, 200, 400], [30.0, 50.0, 90.0])
    assert (start, tokens) == (pytest.approx(10.0), pytest.approx(50.0))


def test_metrics(capsys):
    rows = run("metrics", "--users", "40", "--subset", "8")
    assert [row.point for row in rows] == ["UAUC"] * 3 + ["NDCG@10"] * 3
    assert [row.note for row in rows[:2]] == ["", "8 of 40 users, scaled"]


def test_cora_step(capsys):
    rows = run("cora_step", "--llm", "tiny", "--batch", "2", "--tokens", "6", "--rank", "2", "--no-memory")
    cases = ["products", "frozen", "frozen, attention=auto", "low-rank", "generator", "optimiser"]
    assert [row.case for row in rows] == cases
    assert "<= 1.06" in capsys.readouterr().out
    assert all("of a product's" in row.note for row in rows)


def test_candidates(capsys):
    methods = ("zero_shot", "ckf", "cora_suffix")
    rows = run("candidates", "--llm", "tiny", "--candidates", "3", "--methods", *methods, "--no-memory")
    assert [(row.point, row.case) for row in rows] == [
        (method, case) for method in methods for case in (OURS, "in full")
    ]
    assert "items/s" in capsys.readouterr().out
    assert [row.note.endswith(" times as many") for row in rows] == [False, True] * len(methods)


@pytest.mark.slow  # trains, and starts three servers
def test_serving(capsys, monkeypatch):
    monkeypatch.setenv("RECSYS_LORA_HOME", "")  # it sets a home of its own
    lines = run("serving", "--requests", "6", "--clients", "1", "3", "--threads", "1")
    assert [tuple(line[:3]) for line in lines] == [
        (route, clients, mode)
        for route in ("score", "recommend")
        for clients in ("1", "3")
        for mode in ("batched", "no window", "one by one")
    ]
    assert all(0 < float(p50) <= float(p99) and float(speed) > 0 for *_, speed, p50, p99 in lines)
    assert "requests/s" in capsys.readouterr().out


def test_every_method_of_the_candidates_has_its_prompts():
    candidates, options = script("candidates"), argparse.Namespace(llm="tiny", dtype="float32", device="cpu")
    data = script("scoring").make_data(16)
    for name in ("tallrec", "collm", "binllm", "cora_suffix"):
        module = candidates.METHODS[name](script("_models").load(options, data.titles[1:]), data)
        assert module.name == name
        assert bool(module.prompt.soft_names) == (name == "collm")


def test_tokenising(capsys):
    rows = run("tokenising", "--llm", "tiny", "--prompts", "32", "--batch", "4", "--epochs", "3")
    assert [row.case for row in rows] == [OURS, "in a collate function", "a training step", "waiting for its batch"]
    assert rows[3].ratio < 1
    assert "<= 0.02" in capsys.readouterr().out


def test_cf_epoch(capsys):
    rows = run("cf_epoch", "--users", "20", "--items", "30", "--rows", "200", "--batch", "50", "--models", "lightgcn")
    assert [(row.point, row.case) for row in rows] == [("lightgcn", OURS)]


def test_cf_epoch_says_why_the_other_side_did_not_run():
    arguments = ("--users", "20", "--items", "30", "--rows", "200", "--models", "mf")
    with pytest.raises(SystemExit, match="RecBole, mf: "):
        run("cf_epoch", *arguments, "--recbole", "--recbole-python", sys.executable)


def test_start(capsys, monkeypatch):
    start = script("start")
    commands = {case: start.COMMANDS[case] for case in ("a wrong override", start.IMPORTS)}
    commands[start.IMPORTS] = start.Command(("-c", "pass"))  # the libraries take seconds
    monkeypatch.setattr(start, "COMMANDS", commands)
    assert [row.case for row in run("start")] == list(commands)
    assert "<= 1500ms" in capsys.readouterr().out


def test_start_ends_where_a_command_fails():
    command = script("start").Command(("-c", "raise SystemExit(3)"))
    with pytest.raises(SystemExit, match="broken: exit status 3, 0 expected"):
        command.check("broken")


def test_every_script_has_a_test():
    own = Path(__file__).read_text()
    for path in FOLDER.glob("[a-z]*.py"):
        assert f'"{path.stem}"' in own, path


# What the scripts share


@pytest.mark.parametrize(
    ("theirs", "complaint"), [([1.0, 2.1], "differ by 0.1"), ([1.0], "shapes"), ([0.0] * 2, "of 0")]
)
def test_values_that_are_not_the_same_end_the_run(theirs, complaint):
    for whole in (False, True):
        with pytest.raises(SystemExit, match=complaint):
            script("_timing").same(np.array([1.0, 2.0]), torch.tensor(theirs), 1e-3, "made up", whole=whole)


def test_values_that_are_the_same_as_a_whole_may_have_one_far_off():
    ours, theirs = torch.ones(1_000), torch.ones(1_000)
    theirs[0] = 1.5
    script("_timing").same(ours, theirs, 0.1, "made up", whole=True)
    with pytest.raises(SystemExit, match=r"differ by 0\.5"):
        script("_timing").same(ours, theirs, 0.1, "made up")


def test_ratios_are_of_the_same_round_and_scaled():
    rows = script("_timing").compared({"a": [1.0, 10.0, 100.0], "b": [2.0, 20.0, 200.0]}, "a", scale={"b": 3.0})
    assert [row.median_ms for row in rows] == [10.0, 60.0]
    assert (rows[1].ratio_low, rows[1].ratio, rows[1].ratio_high) == (6.0, 6.0, 6.0)


def test_cases_take_turns_and_the_first_round_is_not_counted():
    order = []
    steps = {name: lambda name=name: order.append(name) for name in "abc"}
    times = script("_timing").in_turn(steps, argparse.Namespace(rounds=3, device="cpu", clock="wall"))
    assert "".join(order) == "abcabccbaabc"
    assert {name: len(taken) for name, taken in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_peak_memory_is_that_of_the_tensors_held_at_once():
    kept = torch.zeros(2**20)

    def step():
        for _ in range(3):
            whole = torch.empty(2 * 2**20)  # 8 MiB
            half = whole[: 2**20] + kept  # and 4 MiB
            del whole, half

    assert script("_timing").peak_mib(step, argparse.Namespace(device="cpu")) == pytest.approx(12, abs=0.01)


# What makes it fast

PER_BLOCK = {"cora": (144, 48), "ckf": (307, 56), "collm": (132, 53), "tallrec": (160, 53)}
"""Operations that a decoder block adds to a training step in bfloat16 and to a scored batch, at most."""
BESIDE = {"cora": (294, 92), "ckf": (376, 77), "collm": (143, 52), "tallrec": (89, 35)}
"""What there is beside the blocks, at most: most of it is CoRA's generator, CKF's mapping and its full head."""


@pytest.mark.parametrize("method", PER_BLOCK)
def test_step_ops_stay_what_they_are_and_no_step_waits(method, capsys):
    counted = [script("step_ops").main(["--blocks", str(n), "--methods", method])[method] for n in (1, 2)]
    (step, waits, score, score_waits), (more, more_waits, more_score, _) = counted
    assert waits == more_waits == 0
    assert score_waits <= (3 if method == "ckf" else 0)  # CKF's choices are asked for one task, whose rows it reads
    assert (more - step) <= PER_BLOCK[method][0]
    assert (more_score - score) <= PER_BLOCK[method][1]
    assert (2 * step - more) <= BESIDE[method][0]
    assert (2 * score - more_score) <= BESIDE[method][1]


def test_operations_and_waits_are_noticed():
    _ops = script("_ops")
    weight, made = torch.nn.Parameter(torch.ones(3, 3)), torch.from_numpy(np.ones((2, 3), dtype=np.float32))
    with _ops.Count([weight]) as count:
        (made.to("cpu") @ weight).sum().backward()  # a product and a sum; backward: a product and an expansion's view
    assert dict(count.waits) == {"to": 1}
    assert count.operations["mm"] == 2
    with _ops.Count([weight]) as count, torch.inference_mode():
        x = torch.nn.functional.linear(made.to("cpu", non_blocking=True), weight)
        x[x > 2].tolist()
        float(x.sum())
        torch.nonzero(x)
        torch.tensor([1], device=weight.device)
        float(torch.tensor(1.0))  # on the host
    assert dict(count.waits) == {"index": 1, "tolist": 1, "_local_scalar_dense": 1, "nonzero": 1, "tensor": 1}
    assert count.operations["mm"] == 1


class Logits(TorchDispatchMode):
    """Sees every tensor that is made, and keeps how many rows of logits the largest one has.

    Args:
        backbone: whose head gives them; its own weight, however it is turned, is not counted.
    """

    def __init__(self, backbone):
        super().__init__()
        self.weight, self.rows = backbone.model.get_output_embeddings().weight, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, torch.Tensor) and value.shape[-1:] == self.weight.shape[:1]:
                own = value.untyped_storage().data_ptr() == self.weight.untyped_storage().data_ptr()
                self.rows = max(self.rows, 0 if own else value.numel() // len(self.weight))
        return made


@pytest.fixture
def world():
    titles = [f"Film {number} {'long ' * (number % 7)}" for number in range(20)]
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=titles)


def cora_batch(module, data, rows):
    prompts = prompts_for(module, data, data.rows("test").take(np.arange(rows)))
    return prompts.batch(np.arange(rows), module.backbone.pad_id, "right")


def test_all_logits_are_noticed_where_they_are_made(world):
    module = factory.zero_shot(world[0])
    batch = cora_batch(module, world[0], 3)
    with Logits(module.backbone) as seen:
        module.backbone.model(input_ids=batch.input_ids)
    assert seen.rows == batch.input_ids.numel()


def test_a_step_of_cora_is_one_forward_of_the_backbone_and_no_row_of_logits(world):
    module = factory.cora(*world)
    batch = cora_batch(module, world[0], 6)
    bodies = forwards(module.backbone)
    with Logits(module.backbone) as seen:
        module(batch).sum().backward()
    assert bodies == [tuple(batch.input_ids.shape)]
    assert seen.rows == 0


def test_a_step_of_ckf_is_one_forward_a_version_whatever_the_number_of_tasks():
    world = ckf.data()
    module = ckf.started(ckf.module(world))
    pair = ckf.pairs(rows=9).batch(np.arange(9), 0, "right")
    bodies = forwards(module.backbone)
    [text], [collaborative] = pair.versions["text"], pair.versions["collaborative"]
    answers = int(text.answer_tokens.sum())
    with Logits(module.backbone) as seen:
        sum(module.loss(part).sum() for part in (text, collaborative)).backward()
    assert bodies == [tuple(text.input_ids.shape), tuple(collaborative.input_ids.shape)]
    assert len(set(text.task.tolist())) == 3
    assert 0 < seen.rows <= answers < text.input_ids.numel()


def test_prompts_of_other_lengths_are_forwards_of_their_own_where_that_saves_more():
    pairs = ckf.pairs(rows=30)
    lengths = pairs.versions["text"].prompts.lengths
    whole, cut, none = (
        replace(pairs, forward_overhead_tokens=cost).batch(np.arange(30), 0, "right").versions["text"]
        for cost in (1e6, 10.0, 0.0)
    )
    assert [len(groups) for groups in (whole, cut, none)] == [1, 3, len(set(lengths.tolist()))]
    tokens = [sum(group.input_ids.numel() for group in groups) for groups in (whole, cut, none)]
    assert tokens[0] > tokens[1] > tokens[2] == lengths.sum()


def test_scoring_makes_no_row_of_logits_and_reads_little_padding(world):
    data, _ = world
    module = factory.zero_shot(data)
    datamodule = module.datamodule(data, WORDS, seed=0, token_budget=300)
    rows = data.rows("test")
    lengths = datamodule.prompts["ctr"].set(of_rows(rows)).prompts.lengths
    bodies = forwards(module.backbone)
    with Logits(module.backbone) as seen:
        score_rows(module, datamodule, rows, show=False)
    assert seen.rows == 0
    assert sum(size for size, _ in bodies) == len(rows)
    read, real = sum(size * tokens for size, tokens in bodies), int(lengths.sum())
    in_order = [lengths[begin : begin + 4] for begin in range(0, len(rows), 4)]
    fixed = sum(int(part.max()) * len(part) for part in in_order)
    assert all(size * tokens <= 300 for size, tokens in bodies)
    assert len(bodies) > 4
    assert read - real < 0.5 * (fixed - real)
