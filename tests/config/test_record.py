"""Each value of a run's record changes the keys of those stages that use it, and of no others."""

import copy
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from recsys_lora.config.check import check, mismatches, signature
from recsys_lora.config.edge import build, read_run
from recsys_lora.config.record import RunConfig
from recsys_lora.config.roles import Kind, leaves
from recsys_lora.pipeline.collaborative import cf_depends
from recsys_lora.pipeline.method import method_depends
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import content_key
from tests.jobs import composed, resolved

NOTHING: set[str] = set()
# By the first key that is equal or above. What is read by content is checked further below.
USED_BY = {
    "data.name": {"prepare"},
    "data.positive": {"prepare"},
    "data.min_user_rows": {"prepare"},
    "data.min_item_rows": {"prepare"},
    "data.duplicates": {"prepare"},
    "data.reader": NOTHING,
    "data.split": NOTHING,
    "data.root": NOTHING,
    "data.rating_scale": {"prepare", "method", "frozen"},
    "data.off_scale": {"prepare"},
    "data.catalogue": {"prepare"},
    "data.negatives": {"prepare"},
    "data.wording": {"method", "frozen"},
    "data.titles": {"method", "frozen"},
    "data.train_rows": {"method"},
    "data.valid_rows": {"method"},
    "data.test_rows": {"test", "frozen"},
    "data.test_users": {"test", "frozen"},
    "data.sample_seed": {"method", "test", "frozen"},
    "cf.fit.scoring_rows": NOTHING,
    "cf": {"cf"},
    "llm": NOTHING,
    "trainer.enable_progress_bar": NOTHING,
    "trainer.enable_model_summary": NOTHING,
    "trainer.log_every_n_steps": NOTHING,
    "trainer.profiler": NOTHING,
    "trainer": {"method"},
    "model": {"method"},
    "first": NOTHING,
    "tasks": {"method"},
    "task": {"method"},  # the language model alone: by the one task that it answers
    "mixing": {"method"},
    "seed": {"cf", "method"},
    "callbacks.checkpoint.folder": NOTHING,
    "callbacks.checkpoint.every_n_steps": NOTHING,
    "callbacks.checkpoint": {"method"},
    "callbacks.stop_early": {"method"},
    "callbacks.ema.decay": {"method"},
    "callbacks": NOTHING,
    "evaluation.prompt": {"frozen"},
    "evaluation": NOTHING,
    **dict.fromkeys(
        ("logger", "paths", "stage", "resume", "name", "group", "tags", "train", "test", "ckpt_path"), NOTHING
    ),
}
LINES = (["model=cora"], ["model=ckf"], ["model=collm", "cf=mf"], ["model=graphlora", "logger=wandb", "trainer=fsdp"])


def keys(config: RunConfig) -> dict[str, str]:
    """Return the key of each stage, as if what the stages before make were the same."""
    depends = {
        "prepare": config.data.deciding("prepare"),
        "cf": cf_depends(config, "data"),
        "method": method_depends(config, {}, "float32"),
        "test": config.deciding("test"),
        "frozen": config.deciding("frozen"),
    }
    return {stage: content_key(what) for stage, what in depends.items()}


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, "x"] if isinstance(value, list) else f"{value}x"


def with_values(config: dict[str, Any], keys: Iterable[str], value: Any) -> dict[str, Any]:
    """Return a config with one value at several keys; what lies beside them is shared."""
    for key in keys:
        name, _, rest = key.partition(".")
        config = {**config, name: with_values(config[name], [rest], value) if rest else value}
    return config


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_a_changed_value_changes_the_keys_of_what_uses_it_alone(line):
    config = read_run(composed(*line, "data=ml_1m"))
    before = keys(config)
    whole = config.as_dict()
    for key, value in leaves(whole):
        above = next(known for known in USED_BY if key == known or key.startswith(f"{known}."))
        after = keys(RunConfig.of(with_values(whole, [key], other(value))))
        assert {stage for stage, own in after.items() if own != before[stage]} == USED_BY[above], key


# Numbers that mean the same

BOTH_KINDS = {
    "cf.trainer.limit_train_batches",
    *(f"trainer.{name}" for name in ("gradient_clip_val", "limit_train_batches", "limit_val_batches")),
    *(f"trainer.{name}" for name in ("limit_test_batches", "overfit_batches", "val_check_interval")),
}
"""Values whose annotations allow both kinds, which differ there: 1 is one batch, 1.0 all of them."""


def fitting(config: dict[str, Any], keys: Iterable[str], value: Any) -> set[str]:
    """Return those keys at which a value fits."""
    return set(keys) - {line.partition("=")[0] for line in mismatches(with_values(config, keys, value))}


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_numbers_that_mean_the_same_give_the_same_keys(line):
    config = resolved(*line, "data=ml_1m")
    every = [key for key, value in leaves(config) if isinstance(value, int | float) and not isinstance(value, bool)]
    every.append("mixing.temperature")  # a float, or null
    whole, broken = fitting(config, every, 1), fitting(config, every, 1.0)
    assert {"model.optimizer.lr", "data.positive", "mixing.temperature"} <= whole & broken
    assert not {"seed", "model.batch_size", "cf.encoder.dim"} & broken
    same = (whole & broken) - BOTH_KINDS
    first, second = (check(with_values(config, same, number)) for number in (1, 1.0))
    assert {key: type(value) for key, value in leaves(first)} == {key: type(value) for key, value in leaves(second)}
    assert keys(RunConfig.of(first)) == keys(RunConfig.of(second))


def test_whole_numbers_among_others_become_floats_and_both_kinds_stay_apart():
    node = {"_target_": f"{__name__}.numbers", "rates": [1, 0.5], "shares": {"a": 2}, "number": 1, "either": 1}
    read = check({"model": node})["model"]
    kinds = [type(value) for value in (*read["rates"], read["shares"]["a"], read["number"], read["either"])]
    assert kinds == [float, float, float, int, int]


def numbers(rates: Sequence[float], shares: Mapping[str, float], number: int, either: int | float):
    """Take numbers of every kind."""


def without(config: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a config without one dotted key."""
    name, _, rest = key.partition(".")
    left = {own: value for own, value in config.items() if own != name}
    return {**left, name: without(config[name], rest)} if rest else left


OFF = {
    "model.pairwise": 0.0,
    "model.rows_per_user": 1,
    "model.tune_encoder": False,
    "model.encoder_lr_factor": 1.0,
    "model.user_statistics": False,
    "model.offset_scale": 0.0,
    "model.train_on": "rows",
    "callbacks.ema.decay": 0.0,
}
"""Options that came later, and the value at which each does nothing."""


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_options_that_are_off_leave_the_keys_from_before_them(line):
    whole = read_run(composed(*line, "data=ml_1m")).as_dict()
    older = copy.deepcopy(whole)
    for key, value in OFF.items():
        group, _, name = key.rpartition(".")
        node = OmegaConf.select(OmegaConf.create(older), group)
        if node.get(name) == value:
            older = without(older, key)
    assert {"pairwise", "rows_per_user"} <= whole["model"].keys() - older["model"].keys()
    assert keys(RunConfig.of(whole)) == keys(RunConfig.of(older))


def test_every_value_of_the_record_is_in_the_table():
    for key, _, _ in RunConfig.values():
        assert any(key == known or key.startswith(f"{known}.") or known.startswith(f"{key}.") for known in USED_BY), key


def test_the_stage_before_counts_by_its_key():
    config = read_run(composed("model=collm", "cf=mf"))
    made = [content_key(method_depends(config, {}, "float32", first)) for first in ("a", "a", "b")]
    assert made[0] == made[1] != made[2]


def test_a_checkpoint_counts_by_its_content(tmp_path):
    first, same, third = (tmp_path / name for name in ("a.ckpt", "b.ckpt", "c.ckpt"))
    for path, text in ((first, "weights"), (same, "weights"), (third, "others")):
        path.write_text(text)
    made = [keys(read_run(composed(f"ckpt_path={path}")))["method"] for path in (first, same, third)]
    assert made[0] == made[1] != made[2]


# What counts by content: every knob changes the object's identity, or its role says why not.

BY_FILES = {"reviews", "meta", "asset", "interactions", "items", "users"}
"""Knobs of readers that name files, of which checksums are taken."""
NODES = [
    *(("llm", line) for line in (["llm=tiny"], ["llm=smollm2_135m"], ["llm=hub", "llm.name=org/model"])),
    *(("data.reader", [f"data={name}"]) for name in ("ml_1m", "ml_100k", "table", "amazon_gift_cards")),
    *(
        ("data.split", [f"data/split={name}"])
        for name in (
            *("user_time", "global_time", "leave_last_out", "cold_items"),
            *("movielens_benchmark", "amazon_book_benchmark"),
        )
    ),
]


@pytest.mark.parametrize(("at", "line"), NODES, ids=str)
def test_every_knob_of_what_counts_by_content_is_part_of_its_identity(at, line):
    node = OmegaConf.to_container(OmegaConf.select(OmegaConf.create(resolved(*line)), at))
    arguments, hints = signature(get_object(node["_target_"]))
    before = build(node, at).identity()
    for name in arguments:
        role = RunConfig.role_of(f"{at}.{name}")
        if name in BY_FILES or role.kind in (Kind.SOURCE, Kind.COST):
            continue
        assert role.by_content
        value = another_of(hints[name], node.get(name))
        assert build({**node, name: value}, at).identity() != before, name


def another_of(hint: Any, value: Any) -> Any:
    """Return another value that an annotation allows."""
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice != value)
    if isinstance(value, list):
        return [number + 1 for number in value]
    if isinstance(value, dict):
        return {**value, list(value)[-1]: "x"}
    if value is None:
        if "Mapping" in str(hint):
            return {"event": ["x"]}
        return [2017] if "Sequence" in str(hint) else "x"
    if isinstance(value, float):
        return value / 2
    return other(value)


# From containers and back


def test_a_record_is_what_it_was_made_of():
    config = resolved("model=ckf", "data=table", "+mine.rank=4")
    assert RunConfig.of(config).as_dict() == config
    assert RunConfig.of(config).extra == {"mine": {"rank": 4}}


def test_what_is_missing_or_no_group_is_named():
    config = resolved()
    del config["data"]["wording"]
    with pytest.raises(UserError, match=r"^data\.wording: missing"):
        RunConfig.of(config)
    with pytest.raises(UserError, match=r"^cf=mf: a group of settings belongs there: .* by cf=NAME$"):
        RunConfig.of(resolved() | {"cf": "mf"})


def test_a_run_in_another_folder_writes_nothing_into_the_old_one():
    config = read_run(composed("logger=wandb", "data.root=old/run/raw", run="old/run"))
    moved = config.at("new")
    written = {key: value for key, value in leaves(moved.as_dict()) if isinstance(value, str) and "old/run" in value}
    assert written == {"data.root": "old/run/raw", "data.reader.root": "old/run/raw"}
    assert moved.callbacks["checkpoint"]["folder"] == "new/checkpoints"
    assert moved.at("old/run") == config
