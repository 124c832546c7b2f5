"""Options that need others are told with the key that a person sets, before anything is read."""

import itertools
import re

import pytest

from recsys_lora.config.compose import compose
from recsys_lora.config.edge import read_run, recorded_run
from recsys_lora.config.method_rules import RULES, broken
from recsys_lora.config.paths import conf_dir, options
from recsys_lora.config.variants import variants
from recsys_lora.utils.errors import UserError
from tests.jobs import composed

BPR = "model.rows_per_user=2"
REFUSED = [
    ("model=tallrec model.offset=cf", r"model.offset=cf: .* no CF model: set model.offset=none"),
    ("model.offset=cf tasks=[topk]", r"model.offset=cf: .* the run asks none: set model.offset=none"),
    ("model.offset_scale=0.5", r"model.offset_scale=0.5: .*: set model.offset=cf, or leave it out"),
    ("model=prompt4nr model.mask_users=0.2", r"model.mask_users=0.2: .* no vectors .*: set it to 0"),
    ("model=binllm model.mask_items=0.2", r"model.mask_items=0.2: .* no vectors .*: set it to 0"),
    ("model.pairwise=0.5", r"model.pairwise=0.5: .*: set model.rows_per_user to 2 or more"),
    (f"model.pairwise=0.5 {BPR} tasks=[topk]", r"model.pairwise=0.5: .* the run asks none: set model.pairwise=0"),
    ("model.rows_per_user=9", r"model.rows_per_user=9: a batch has 8 rows: lower it, or raise model.batch_size"),
    (f"model=tallrec {BPR} model.train_on=items", r"model.rows_per_user=2: .* model.train_on=items asks of no user"),
    (
        f"model=tallrec {BPR} model.pairwise=1 model.train_on=items",
        r"model.pairwise=1.0: .* model.train_on=items asks of no user: .*; model.rows_per_user=2: ",
    ),
    ("model=tallrec model.train_on=items tasks=[ctr,topk]", r"model.train_on=items: .* set tasks=\[ctr\] or model."),
    (
        "model.tune_encoder=true cf.train_share=0.5",
        r"model.tune_encoder=true: .*: set cf.train_share=1 or model.tune_encoder=false",
    ),
    ("model=graphlora cf=mf cf.train_share=0.5", r"model.tune_encoder=true: .*: set cf.train_share=1 or"),
    ("model.encoder_lr_factor=0.1", r"model.encoder_lr_factor=0.1: .*: set model.tune_encoder=true, or leave it out"),
    ("model=collm model.encoder_start=fresh", r"model.encoder_start=fresh: .*: set model.tune_encoder=true"),
    ("model.text_lora=fixed", r"model.text_lora=fixed: .* there is none: choose model=cora_tuned, or model.text_lora"),
    ("model.generator.query_dim=30", r"model.generator.query_dim=30: is no multiple of model.generator.heads=4"),
    (
        "model.generator.queries=3 model.generator.pooling=per_rank_component",
        r"model.generator.queries=3: .* and model.rank=16: leave it out",
    ),
    (
        "model.generator.kind=direct model.generator.pooling=per_rank_component",
        r"model.generator.pooling=per_rank_component: has no effect with model.generator.kind=direct: leave it out",
    ),
    (
        "model=ckf model.objective.curriculum=joint model.objective.middle=0.3",
        r"model.objective.middle=0.3: has no effect with model.objective.curriculum=joint: leave it out",
    ),
    (
        "model=ckf model.objective.curriculum=two_stage model.objective.steepness=4",
        r"model.objective.steepness=4.0: has no effect with model.objective.curriculum=two_stage",
    ),
    (
        "model=ckf model.objective.curriculum=weighted model.objective.skip_below=0.1",
        r"model.objective.skip_below=0.1: has no effect with model.objective.curriculum=weighted",
    ),
    ("model=ckf model.mapping.bridge_rank=4", r"model.mapping.bridge_rank=4: has no effect with model.mapping.bridge="),
    (
        "model=ckf model.mapping.bridge=none model.mapping.personalised_items=true",
        r"model.mapping.personalised_items=true: has no effect with model.mapping.bridge=none",
    ),
    (
        "model=ckf model.mapping.attention_hidden=[8]",
        r"model.mapping.attention_hidden=\[8\]: has no effect with model.mapping.pooling=mean",
    ),
    (
        "model=ckf model.lora=shared_only model.specific_targets=[k_proj]",
        r"model.specific_targets=\['k_proj'\]: has no effect with model.lora=shared_only",
    ),
    (
        "model=ckf model.lora=specific_only model.shared_targets=[k_proj]",
        r"model.shared_targets=\['k_proj'\]: has no effect with model.lora=specific_only",
    ),
    # First stages
    (
        "model=cora +first.train_on=items",
        r"first.train_on: model=cora has no first stage: choose one that has, as model=cora_tuned",
    ),
    ("model=cora_tuned first.pairwise=1", r"first.pairwise=1.0: .*: set first.rows_per_user to 2 or more"),
    ("model=collm first.offset=cf", r"first.offset=cf: .* no CF model: set first.offset=none"),
    ("model=cora_tuned first.rank=2", r"first.rank=2: both stages have the same updates, but model.rank is another"),
    ("model=cora_tuned first.alpha=2", r"first.alpha=2.0: both stages have the same updates, but model.alpha is"),
    ("model=collm first.targets=[k_proj]", r"first.targets=\['k_proj'\]: .* name some of model.targets alone"),
    (
        "model=cora_tuned first.train_on=items tasks=[ctr,topk]",
        r"first.train_on=items: .* set tasks=\[ctr\] or first.train_on=rows",
    ),
    ("model=cora_tuned model.text_lora=none", r"model.text_lora=none: .*: set it to fixed, or first=null"),
]


@pytest.mark.parametrize(("line", "said"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_does_not_go_together_is_one_line(line, said):
    with pytest.raises(UserError) as refusal:
        compose("data=ml_100k", *line.split())
    assert re.match(said, str(refusal.value)), str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_model_that_cannot_go_on_from_a_first_stage_is_refused():
    cfg = composed("model=zero_shot")
    cfg.first = composed("model=tallrec").model
    with pytest.raises(UserError, match=r"^first: model=zero_shot cannot go on from a first stage: set first=null$"):
        read_run(cfg)


GOES = [
    "model.offset=cf model.offset_scale=0.5",
    f"model.pairwise=0.5 {BPR}",
    BPR,
    "model.tune_encoder=true model.encoder_lr_factor=0.1 model.offset=cf",
    "model=person_prompt model.mask_users=0.2",
    "model.offset=cf tasks=null",
    "model=tallrec model.train_on=items",
    "model=collm first=null model.tune_lora=true",
    "model=collm model.rank=4 model.targets=[k_proj]",
    "model.text_lora=tuned",
    "model.generator.kind=direct model.generator.query_dim=30",
    "model.generator.pooling=per_rank_component model.generator.queries=16",
    "model=ckf model.mapping.bridge=low_rank model.mapping.bridge_rank=4",
    "model=cf cf=mf cf.train_share=0.5 callbacks.ema.decay=0.9",
]
"""What is near to a refusal and means something; the last is of the run, and stands for all models of a sweep."""


@pytest.mark.parametrize("line", GOES)
def test_what_means_something_goes(line):
    compose("data=ml_100k", *line.split())


NOTED = [
    ("model.generator.kind=direct model.generator.blocks=4", r"model.generator.blocks=4: has no effect with model.gen"),
    (
        "model.generator.input=pair model.generator.single_key=separate",
        r"model.generator.single_key=separate: has no effect with several keys",
    ),
    ("model.dropout=0 model.dropout_per=token", r"model.dropout_per=token: has no effect with model.dropout=0"),
    (
        "model.optimizer.schedule=constant model.optimizer.final_lr_fraction=0.1",
        r"model.optimizer.final_lr_fraction=0.1: has no effect with model.optimizer.schedule=constant",
    ),
    (
        "model.optimizer.warmup_steps=0 model.optimizer.initial_lr_fraction=0.1",
        r"model.optimizer.initial_lr_fraction=0.1: has no effect with model.optimizer.warmup_steps=0",
    ),
    ("model=graphlora cf=mf model.beta=0 model.layer=last", r"model.layer=last: has no effect with model.beta=0"),
    (
        "model=ckf model.mapping.bridge=none model.mapping.activation=tanh",
        r"model.mapping.activation=tanh: has no effect with model.mapping.bridge=none",
    ),
]


@pytest.mark.parametrize(("line", "said"), NOTED, ids=[line for line, _ in NOTED])
def test_what_presets_set_for_every_variant_is_noted_where_it_has_no_effect(line, said):
    [told] = broken(compose("data=ml_100k", *line.split()).as_dict(), "noted")
    assert re.match(said, told), told


def test_what_an_older_version_let_pass_is_still_read_from_its_record():
    config = compose("data=ml_100k").as_dict()
    config["model"] = {**config["model"], "encoder_lr_factor": 0.1}
    recorded_run(config)
    config["model"] = {**config["model"], "rows_per_user": 99}
    with pytest.raises(UserError, match=r"^model.rows_per_user=99: a batch has 8 rows"):
        recorded_run(config)


def test_every_rule_of_an_option_is_tried():
    lines = [said for _, said in [*REFUSED, *NOTED]]
    options_tried = {re.match(r"(?:model|first)\.([\w.]+?)[=:]", line).group(1) for line in lines}
    untried = {rule.option for rule in RULES} - options_tried
    alike = ("generator.", "mapping.", "graph.", "layer_alpha", "optimizer.max_warmup_fraction")
    assert not {option for option in untried if not option.startswith(alike)}


PRESETS = [[], ["preset=published"]]


@pytest.mark.parametrize("model", options("model"))
def test_presets_and_ablations_of_a_model_go_together(model):
    own = [f"ablation={name}" for name in variants(conf_dir() / "ablation") if name.startswith(f"{model}_")]
    encoder = "cf=mf" if model == "graphlora" else "seed=1"
    for preset, ablation in [*itertools.product(PRESETS, [[], *([name] for name in own)]), (["rates=published"], [])]:
        read_run(composed(f"model={model}", encoder, *preset, *ablation))
