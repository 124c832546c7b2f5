"""What does not fit together is told before anything is fitted."""

import pytest

from recsys_lora.utils.errors import UserError, first_stage
from tests.jobs import NO_METHOD, run

LINES = [
    ("model=cora model.targets=[q_prj]", r"^LlamaForCausalLM has no linear map named q_prj in its blocks: choose"),
    (
        "model=cora model.scope=suffix model.prompt.text=Good? model.prompt.no_history=Good?",
        r"^model.scope=suffix begins",
    ),
    ("model=cora model.prompt.text=", r"^model.prompt: text is empty: write what the language model reads$"),
    ("model=graphlora cf=sasrec", r"^cf: e_u changes with the user's history there, but model=graphlora needs one"),
    (
        "model=graphlora cf=mf model.layer=99",
        r"^model.layer=99: the backbone's blocks are 0 to \d: choose one of them$",
    ),
    ("model=binllm cf=mf", r"^the encoder.s vectors are no binary codes .*: choose cf=binary_mf$"),
    ("model=collm cf=mf model/prompt=history", r"^model.prompt has no soft tokens: put .* into its texts"),
    ("model=collm cf=mf first.prompt.text=", r"^first stage: first.prompt: text is empty: write"),
    ("model=cora train=false", r"^train=false: the cache holds no trained method of these settings: give ckpt_path="),
    ("model=cora_tuned cf=mf train=false", r"^first stage: train=false: the cache holds no trained method of these"),
    ("model=collm cf=mf first.targets=[] model.targets=[q_prj]", r"^LlamaForCausalLM has no linear map named q_prj"),
]


@pytest.mark.parametrize(("line", "said"), LINES, ids=[line for line, _ in LINES])
def test_nothing_is_fitted_for_what_cannot_be_put_together(tables, tmp_path, monkeypatch, line, said):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match=said):
        run(tmp_path / "run", *NO_METHOD, *tables, *line.split())
    assert [path.name for path in (tmp_path / "home" / "artifacts").iterdir()] == ["prepare"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("model=cora ckpt_path=missing.ckpt", r"^missing.ckpt: no such checkpoint: give ckpt_path the path of a"),
        ("model=cora ckpt_path=missing.ckpt train=false", r"^missing.ckpt: no such checkpoint"),
        ("model=zero_shot ckpt_path=some.ckpt", r"^ckpt_path: nothing of model=zero_shot is trained: leave it out$"),
        ("model=cf cf=mf ckpt_path=some.ckpt", r"^ckpt_path: nothing of model=mf is trained: leave it out$"),
    ],
)
def test_a_checkpoint_is_looked_for_before_anything_is_read(tmp_path, line, said):
    with pytest.raises(UserError, match=said):
        run(tmp_path / "run", *NO_METHOD, "data.interactions=missing.csv", *line.split())


def test_a_line_about_the_first_stage_names_its_own_keys():
    said = "model.layer=9 of model.layers.3 in /x/model.layer: set model.layer, model.graph.kind or cf.dim"
    with pytest.raises(UserError) as refusal, first_stage(["layer", "graph"]):
        raise UserError(said)
    assert str(refusal.value) == (
        "first stage: first.layer=9 of model.layers.3 in /x/model.layer: set first.layer, first.graph.kind or cf.dim"
    )
