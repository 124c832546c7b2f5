"""The Python API does what the command line does."""

import json
import re
import subprocess
import sys

import lightning
import pytest
import torch
import yaml
from peft import PeftModel

import recsys_lora
from recsys_lora.lowrank.peft_format import export
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.utils.errors import UserError
from tests.documents import FENCE, ROOT
from tests.jobs import NO_METHOD, SMALL, method_of, own_tables, write_tables
from tests.rounding import assert_close


def test_importing_the_package_is_light():
    code = "import recsys_lora, sys; print([n for n in ('torch', 'hydra', 'polars', 'numpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_config_is_what_the_command_line_shows(tmp_path):
    overrides = ["model=ckf", "data=ml_1m", "budget=smoke", "llm=tiny", "model.rank=5", "tags=[a,b]"]
    line = [sys.executable, "-m", "recsys_lora.run", *overrides, "paths.run=here", "--cfg", "job", "--resolve"]
    shown = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    named = {**yaml.safe_load(shown), "name": "ckf-ml_1m-sasrec"}  # the default is filled in when a run begins
    assert recsys_lora.compose(*overrides, folder="here").as_dict() == named


def test_runs_that_begin_one_after_the_other_have_folders_of_their_own():
    first, second = (recsys_lora.compose("row=mf", "paths.runs=place").paths.run for _ in range(2))
    assert re.fullmatch(r"place/mf-ml_100k/\d{4}-\d\d-\d\d_[\d-]+", first)
    assert first != second


def test_an_experiment_is_the_group_of_its_runs():
    assert recsys_lora.compose("experiment=demo").group == "demo"
    assert recsys_lora.compose("experiment=demo", "group=mine").group == "mine"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=corra", "did you mean cora"),
        ("model.rang=3", "did you mean model.rank"),
        ("model.rank=-1", r"model\.rank"),
        ("llm=hub", r"llm\.name: has to be given"),
        ("model.rank=4,8", r"model\.rank"),
        ("logger=null", "logger=null: logger takes the name of one of its files: write logger=NAME"),
        ("data.name=null", r"data\.name=None: Input should be a valid string"),
        ("data.rating_scale.step=0", r"data\.rating_scale\.step=0: Input should be greater than 0"),
        ("model._target_=os.system", r"model\._target_=os\.system: no method"),
        ("experiment=cora_table_ml1m", "a sweep over"),
        ("hparams_search=cora", r"recsys_lora\.tune"),
    ],
)
def test_a_mistake_is_one_clear_line(override, said):
    with pytest.raises(UserError, match=said) as caught:
        recsys_lora.compose(override)
    assert "\n" not in str(caught.value)


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'compse'"):
        recsys_lora.compse  # noqa: B018


def test_a_run_writes_into_its_folder_and_returns_what_it_made(tmp_path, home):
    given = write_tables(tmp_path, *own_tables())
    config = recsys_lora.compose(*NO_METHOD, "row=mf", *given, folder=tmp_path / "runs" / "one")
    outcome = recsys_lora.run_config(config)
    assert outcome.metrics == read_metrics(tmp_path / "runs" / "one" / "metrics.json")
    assert outcome.data.num_users == 20
    assert outcome.method is None
    assert yaml.safe_load((tmp_path / "runs" / "one" / "config.yaml").read_text()) == config.as_dict()


def test_what_is_built_trains_to_the_weights_of_a_run(tmp_path, home):
    steps = ["trainer.max_steps=3", "trainer.limit_val_batches=0", "test=false"]
    overrides = [*SMALL, *steps, "cf=mf", *write_tables(tmp_path, *own_tables())]
    built = recsys_lora.build(recsys_lora.compose(*overrides, folder=tmp_path / "built"))
    assert built.metrics is None
    assert not (tmp_path / "built" / "config.yaml").exists()
    module = built.method.module
    zero = [value for name, value in module.named_parameters() if name.endswith(".P")]
    assert zero
    assert not any(value.any() for value in zero)  # nothing is trained yet
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(accelerator="cpu", max_steps=3, limit_val_batches=0, gradient_clip_val=1.0, **silent)
    trainer.fit(module, datamodule=built.method.datamodule)
    ran = recsys_lora.run_config(recsys_lora.compose(*overrides, folder=tmp_path / "ran"))
    theirs = dict(ran.method.module.named_parameters())
    for name, value in module.named_parameters():
        if value.requires_grad:
            assert_close(value, theirs[name])


OWN_TRAINER = """
import json, lightning, recsys_lora

built = recsys_lora.build(recsys_lora.compose(*{overrides}, folder="built"))
module, datamodule = built.method.module, built.method.datamodule
silent = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = lightning.Trainer(accelerator="cpu", max_steps=3, limit_val_batches=0, **{processes}, **silent)
trainer.fit(module, datamodule=datamodule)
tested = trainer.test(module, datamodule=datamodule, verbose=False)[0]
if trainer.is_global_zero:
    print(json.dumps(tested | {{"norm": float(module.generator.heads["width64"].weight.norm())}}))
"""


@pytest.mark.slow
def test_two_processes_of_a_trainer_of_ones_own_train_what_one_does(tmp_path, home):
    dropped = ("model.dropout=0.0", "model.generator.dropout=0.0")  # two processes draw other masks
    overrides = [*SMALL, *dropped, "cf=mf", *write_tables(tmp_path, *own_tables())]
    said = []
    for number, processes in enumerate(({"devices": 1}, {"devices": 2, "strategy": "ddp"})):
        script = tmp_path / f"own{number}.py"
        script.write_text(OWN_TRAINER.format(overrides=overrides, processes=processes))
        line = [sys.executable, script.name]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
        said.append(json.loads(done.stdout.splitlines()[-1]))
    assert said[1] == pytest.approx(said[0], abs=1e-4)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("ckpt_path=some.ckpt", "ckpt_path: .* your trainer's fit"),
        ("train=false", "train=false: .* leave it out"),
        ("trainer=ddp_sim", "trainer: .* one process"),
        ("trainer=fsdp", "trainer: .* one process"),
        ("cf.trainer.accelerator=mps", r"cf\.trainer\.accelerator=mps: PyTorch finds no Apple GPU"),
        ("trainer.accumulate_grad_batches=0", r"trainer\.accumulate_grad_batches=0: give 1 or more"),
        ("callbacks.checkpoint=null", r"callbacks\.checkpoint is left out"),
        ("+trainer.fast_dev_run=true", r"trainer\.fast_dev_run"),
    ],
)
def test_what_only_a_run_can_do_is_not_built(home, override, said):
    with pytest.raises(UserError, match=said):
        recsys_lora.build(recsys_lora.compose(*SMALL, "data.interactions=ratings.csv", override))


@pytest.mark.slow
def test_the_code_of_its_page_runs(tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path, *own_tables())
    blocks = [
        body for language, body in FENCE.findall((ROOT / "docs" / "python.md").read_text()) if language == "python"
    ]
    assert len(blocks) > 2
    space: dict = {}
    for block in blocks:  # as a reader would, one after the other
        exec(compile(block, "docs/python.md", "exec"), space)
    own = method_of(space["outcome"].metrics)
    assert len(space["scores"]) == own["rows"]
    assert space["tested"][0]["test/auc"] == pytest.approx(own["auc"], abs=1e-6)
    assert set(space["validated"][0]) == {"valid/loss", "valid/auc", "valid/uauc"}
    lora, model, ids = space["lora"], space["model"], space["ids"]
    assert not torch.equal(space["adapted"], space["original"])
    folder = export(lora, tmp_path / "adapter", "tiny")
    lora.remove()
    with torch.no_grad():
        assert torch.equal(model(ids).logits, space["original"])
        assert_close(PeftModel.from_pretrained(model, str(folder))(input_ids=ids).logits, space["adapted"])
