"""What leaves the framework gives the run's scores elsewhere: in peft, in plain transformers, in another folder."""

import json
import os
import shutil
import subprocess
import sys
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from polars.testing import assert_frame_equal
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import recsys_lora
from recsys_lora.cli.export import To, main
from recsys_lora.export.adapter import Selection
from recsys_lora.export.export import export
from recsys_lora.llm.tiny import TinySource
from recsys_lora.lowrank.peft_format import ENGINE_RANKS
from recsys_lora.utils.errors import UserError
from tests.documents import FENCE, ROOT
from tests.finished import RUNS

USER, ITEM = "u3", "i7"
WITH_UPDATES = [
    "cora",
    "cora-offset",
    "cora-tuned",
    "cora-din",
    "ckf",
    "tallrec",
    "collm",
    "binllm",
    "person_prompt",
    "prompt4nr",
]
SOFT = ("ckf", "collm", "person_prompt", "prompt4nr")


def plain(recommender):
    """Return the backbone as it is without this framework's layers."""
    config = recommender.run.config
    source = TinySource(**{key: value for key, value in config.llm.items() if key not in ("_target_", "name")})
    return source.load([title for title in recommender.run.data.titles if title], "cpu").model


def asked_for(name, item=ITEM):
    return Selection(USER, item, "ctr" if name == "ckf" else None)


def answer(model, folder):
    """Return what a model says to the prompt that is beside an export: logit("Yes") - logit("No")."""
    record = json.loads((folder / "prompt.json").read_text())
    assert record["score"] == "yes_minus_no"
    given = {"input_ids": torch.tensor([record["input_ids"]])}
    if (folder / "prompt_embeds.safetensors").is_file():
        given = {"inputs_embeds": load_file(folder / "prompt_embeds.safetensors")["inputs_embeds"][None]}
    with torch.no_grad():
        logits = model(**given).logits[0, -1]
    score = float(logits[record["answers"]["Yes"]] - logits[record["answers"]["No"]])
    return score if record["offset"] is None else record["offset"]["times"] * score + record["offset"]["plus"]


@pytest.mark.parametrize("name", WITH_UPDATES)
def test_peft_gives_the_runs_scores_on_the_plain_backbone(loaded, tmp_path, name):
    recommender = loaded(name)
    items = [ITEM, "i12"] if name.startswith("cora") else [ITEM]
    found = []
    for item in items:
        folder = export(recommender, "peft", tmp_path / item, asked_for(name, item))
        model = PeftModel.from_pretrained(plain(recommender), str(folder))
        found.append(answer(model, folder))
    right = recommender.score([(USER, item) for item in items])["score"]
    np.testing.assert_allclose(found, right, atol=1e-4)
    untuned = answer(plain(recommender), folder)
    assert abs(untuned - right[-1]) > 1e-3  # the adapter does something
    soft = (folder / "prompt_embeds.safetensors").is_file()
    assert soft == (name in SOFT)


def test_weights_of_a_user_are_one_adapter_for_all_items(loaded, tmp_path):
    recommender = loaded("cora-user")
    folder = export(recommender, "peft", tmp_path / "user", Selection(USER))
    assert json.loads((folder / "prompt.json").read_text())["prompt"] is None
    model = PeftModel.from_pretrained(plain(recommender), str(folder))
    items = [ITEM, "i12", "i3"]
    for item, right in zip(items, recommender.score([(USER, item) for item in items])["score"], strict=True):
        pair = export(recommender, "peft", tmp_path / item, Selection(USER, item))  # for its prompt
        assert answer(model, pair) == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("name", WITH_UPDATES)
def test_adapters_keep_to_what_engines_take(loaded, tmp_path, name):
    folder = export(loaded(name), "peft", tmp_path / "adapter", asked_for(name))
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    assert config["r"] == config["lora_alpha"]
    assert config["r"] in ENGINE_RANKS
    assert config["bias"] == "none"
    assert not config["modules_to_save"]
    assert not {"rank_pattern", "alpha_pattern", "use_dora"} & config.keys()
    names = {f"base_model.model.{module}.lora_{side}.weight" for module in config["target_modules"] for side in "AB"}
    assert tensors.keys() == names
    assert {tensor.shape[0 if ".lora_A." in key else 1] for key, tensor in tensors.items()} == {config["r"]}


def test_ckfs_tasks_have_adapters_of_their_own(loaded, tmp_path):
    adapters = {
        task: load_file(
            export(loaded("ckf"), "peft", tmp_path / task, Selection(task=task)) / "adapter_model.safetensors"
        )
        for task in ("ctr", "rating", "explanation")
    }
    q, k = (next(key for key in adapters["ctr"] if f".{word}_proj.lora_A" in key) for word in "qk")
    assert not torch.equal(adapters["ctr"][q], adapters["rating"][q])
    assert torch.equal(adapters["ctr"][k], adapters["explanation"][k])


@pytest.mark.parametrize("name", ["tallrec", "collm", "ckf", "cora"])
def test_a_merged_model_gives_the_runs_scores_in_plain_transformers(loaded, tmp_path, name):
    recommender = loaded(name)
    right = recommender.score([(USER, ITEM)])["score"][0]
    folder = export(recommender, "merged", tmp_path / "model", asked_for(name))
    recommender_prompt = json.loads((folder / "prompt.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(recommender_prompt["input_ids"]) == recommender_prompt["prompt"]
    embeds = export(recommender, "peft", tmp_path / "adapter", asked_for(name)) / "prompt_embeds.safetensors"
    if embeds.is_file():
        shutil.copy(embeds, folder)
    assert abs(answer(model, folder) - right) < 1e-4
    assert abs(recommender.score([(USER, ITEM)])["score"][0] - right) < 1e-6  # the run's own layers stay as they were


@pytest.mark.parametrize("name", ["mf", "collm", "cora", "cora-offset", "cora-tuned"])
def test_dot_products_of_the_vectors_are_the_cf_models_scores(loaded, runs, tmp_path, name):
    folder = export(loaded(name), "vectors", tmp_path / "vectors")
    users, items = (pl.read_parquet(folder / f"{side}.parquet") for side in ("users", "items"))
    assert users["user"].to_list() == loaded(name).users
    assert items["title"].to_list() == loaded(name).items["title"].to_list()
    product = users["vector"].to_numpy() @ items["vector"].to_numpy().T
    if name == "cora-offset":
        product = product + users["bias"].to_numpy()[:, None] + items["bias"].to_numpy()
    pairs = [("u3", "i7"), ("u9", "i29"), ("u3", "i1")]
    right = loaded(name).score(pairs)["cf_score"]
    places = [(users["user"].to_list().index(user), items["item"].to_list().index(item)) for user, item in pairs]
    np.testing.assert_allclose([product[place] for place in places], right, atol=1e-5)


def test_din_has_item_vectors_alone(loaded, tmp_path):
    folder = export(loaded("cora-din"), "vectors", tmp_path / "vectors")
    assert [path.name for path in folder.iterdir()] == ["items.parquet"]


ALIKE = ("cora-suffix", "cora-share", "cora-rated", "cora-din-user")
"""Runs whose bundles hold the same parts as those of others."""


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ALIKE])
def test_a_bundle_answers_as_the_run_where_nothing_else_is_there(loaded, runs, tmp_path, monkeypatch, name):
    recommender = loaded(name)
    bundle = export(recommender, "bundle", tmp_path / "bundle")
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "empty"))
    elsewhere = bundle.rename(tmp_path / "moved")
    before = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    again = recsys_lora.load(elsewhere)
    assert_frame_equal(again.recommend(["u1", "u3"]), recommender.recommend(["u1", "u3"]), abs_tol=1e-6)
    assert {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")} == before
    assert not (tmp_path / "empty").exists()
    kinds = {path.suffix for path in elsewhere.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".parquet", ".json", ".yaml", ".md"}
    twice = export(again, "bundle", tmp_path / "twice")
    assert_frame_equal(recsys_lora.load(twice).recommend("u1"), recommender.recommend("u1"), abs_tol=1e-6)


def test_a_damaged_bundle_is_refused(loaded, tmp_path):
    bundle = export(loaded("cora"), "bundle", tmp_path / "bundle")
    for pattern in ("method/*/trained.safetensors", "cf/*/encoder.safetensors", "prepare/*/items.parquet"):
        [path] = (bundle / "artifacts").glob(pattern)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match=f"{path.name} has changed since it was written"):
            recsys_lora.load(bundle)
        path.write_bytes(content)
    recsys_lora.load(bundle)


@pytest.mark.parametrize(
    ("key", "target", "said"),
    [
        ("model", "os.system", "model._target_=os.system: this config runs code of os"),
        ("model", "recsys_lora.processes.group.subprocess.Popen", "runs code of subprocess"),
        ("callbacks.progress", "subprocess.run", "runs code of subprocess"),
        ("cf.encoder", "recsys_lora.utils.files.write_text", "a function is called where a class belongs"),
    ],
)
def test_a_bundle_cannot_name_other_code(loaded, tmp_path, key, target, said):
    bundle = export(loaded("cora"), "bundle", tmp_path / "bundle")
    config = OmegaConf.load(bundle / "config.yaml")
    OmegaConf.update(config, f"{key}._target_", target)
    OmegaConf.save(config, bundle / "config.yaml")
    with pytest.raises(UserError, match=said):
        recsys_lora.load(bundle)


def test_code_of_ones_own_runs_where_it_is_trusted(loaded, tmp_path, monkeypatch):
    bundle = export(loaded("mf"), "bundle", tmp_path / "bundle")
    (tmp_path / "bundled_package.py").write_text("from recsys_lora.cf.mf import MF\n\nclass Mine(MF):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = OmegaConf.load(bundle / "config.yaml")
    config.cf.encoder._target_ = "bundled_package.Mine"
    OmegaConf.save(config, bundle / "config.yaml")
    with pytest.raises(UserError, match=r"trust=\['bundled_package'\]"):
        recsys_lora.load(bundle)
    again = recsys_lora.load(bundle, trust=["bundled_package"])
    assert_frame_equal(again.recommend("u1"), loaded("mf").recommend("u1"), abs_tol=1e-6)


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("cora", Selection(), "user, item: the updates are those of one user and one item"),
        ("cora", Selection("ghost", ITEM), "user 'ghost': not among the 20 users of table$"),
        ("cora-user", Selection(), "user: the updates are those of one user: give user=ID"),
        ("cora-user", Selection("ghost"), "user 'ghost': not among the 20 users of table$"),
        ("cora-din-user", Selection(USER), "user, item: the updates are those of one user and one item"),
        ("cora", Selection(USER, ITEM, "rating"), "task=rating: the run has ctr"),
        ("cora-suffix", Selection(USER, ITEM), "act from the title on"),
        ("ckf", Selection(), "task: the updates differ by task: give one of ctr, "),
        ("graphlora", Selection(USER, ITEM), "adds vectors inside the updates"),
        ("zero_shot", Selection(), "nothing low-rank is trained"),
        ("mf", Selection(), "no language model: export to=vectors"),
    ],
)
def test_what_cannot_leave_is_said(loaded, tmp_path, name, asked, said):
    for to in ("peft", "merged", "gguf-lora"):
        with pytest.raises(UserError, match=said):
            export(loaded(name), to, tmp_path / "out", asked)
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_cf_model_has_no_vectors(loaded, tmp_path):
    with pytest.raises(UserError, match="no CF model"):
        export(loaded("tallrec"), "vectors", tmp_path / "out")


# The command


def test_the_command_line_does_the_same(runs, tmp_path, monkeypatch, capsys):
    line = [f"run={runs('cora')}", "to=peft", "user=u3"]
    command = [sys.executable, "-m", "recsys_lora", "export", *line, f"item={ITEM}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    main([*line, "item=i8"])
    said = [done.stdout, capsys.readouterr().out]
    assert all(": peft, 3 files, " in one for one in said)
    names = {one.split(": ")[0] for one in said}
    assert len(names) == 2  # a name each
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "exports").iterdir()} == names


@pytest.mark.parametrize("to", get_args(To))
def test_every_form_can_be_typed(runs, tmp_path, capsys, to):
    line = [f"run={runs('mf' if to in ('bundle', 'vectors') else 'tallrec')}", f"to={to}", f"out={tmp_path / 'out'}"]
    main(line)
    assert f"out: {to}, " in capsys.readouterr().out
    main(line)  # replaced


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["to=gguf"], "to=gguf: Input should be 'peft', 'gguf-lora', 'merged', 'vectors' or 'bundle'"),
        (["to=peft", "out=full"], "out=full: the folder holds something else: name a new one"),
        (["to=peft", "out=file"], "out=file: is a file: name a folder"),
        (["to=peft", "run=nowhere"], "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line(runs, more, said, tmp_path, monkeypatch, capsys):
    run = [] if "run=nowhere" in more else [f"run={runs('mf')}"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit) as left:
        main([*run, *more])
    assert left.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_a_run_is_not_replaced_by_its_export(runs, tmp_path, capsys):
    folder = shutil.copytree(runs("mf"), tmp_path / "run")
    with pytest.raises(SystemExit):
        main([f"run={folder}", "to=vectors", f"out={folder}"])
    assert "the folder holds something else: name a new one" in capsys.readouterr().err
    assert (folder / "metrics.json").is_file()


def test_the_code_of_the_page_gives_the_runs_score(loaded, tmp_path):
    recommender = loaded("tallrec")
    adapter = export(recommender, "peft", tmp_path / "adapter", asked_for("tallrec"))
    text = (ROOT / "docs" / "serving_elsewhere.md").read_text()
    [block] = [body for language, body in FENCE.findall(text) if language == "python"]
    space = {"adapter": adapter, "backbone": plain(recommender)}
    exec(compile(block, "docs/serving_elsewhere.md", "exec"), space)
    assert abs(space["score"] - recommender.score([(USER, ITEM)])["score"][0]) < 1e-4
