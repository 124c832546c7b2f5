"""An object's own complaint names the config key it was made from."""

from dataclasses import dataclass

import pytest

from recsys_lora.config.check import check
from recsys_lora.config.compose import compose
from recsys_lora.config.edge import build, read_run
from recsys_lora.utils.errors import UserError, at
from tests.jobs import composed

TEMPLATE = "recsys_lora.prompts.template.Template"


def test_a_mistake_names_the_node_it_is_in():
    with pytest.raises(UserError, match=r"^model\.prompt: expected .*: write a brace that is no slot twice$"):
        build({"_target_": TEMPLATE, "text": "a { b", "no_history": "b"}, "model.prompt")


def test_a_mistake_in_a_nested_node_names_the_whole_way_to_it():
    prompt = {"_target_": TEMPLATE, "text": "a", "no_history": "{history}"}
    node = {"_target_": "builtins.dict", "text": prompt}
    with pytest.raises(UserError, match=r"^task\.ctr\.text: no_history has the slot \{history\}"):
        build(node, "task.ctr")


def test_a_group_given_as_a_value_is_told_how_to_be_chosen():
    with pytest.raises(UserError, match=r"^data\.split=typo: a group of settings .* by data/split=NAME$"):
        build("typo", "data.split")


def test_a_defect_is_not_dressed_up_as_a_mistake():
    with pytest.raises(ZeroDivisionError):
        build({"_target_": "operator.truediv", "_args_": [1, 0]}, "model")


@pytest.mark.parametrize("text", ["${oc.env:SECRET}", r"\${oc.env:SECRET}", "${", "${nothing}"])
def test_nothing_is_resolved_where_objects_are_made(monkeypatch, text):
    monkeypatch.setenv("SECRET", "s3cret")
    made = build(
        {"_target_": "types.SimpleNamespace", "own": text, "list": [{"_target_": "builtins.str", "_args_": [text]}]}
    )
    assert (made.own, made.list) == (text, [text])


@dataclass(frozen=True)
class Spot:
    """What no yaml can write."""

    x: int


def at_a_spot(spot: Spot) -> Spot:
    return spot


def test_a_value_for_an_argument_that_no_yaml_can_write_is_one_line():
    with pytest.raises(UserError, match=r"^model\.spot=3: Input should be (a dictionary or )?an instance of Spot$"):
        check({"_target_": f"{__name__}.at_a_spot", "spot": 3}, "model")


def test_settings_of_what_was_not_chosen_are_told_to_be_left_out():
    said = r"^model\.optimizer=\{'lr': 0\.1\}: settings of something that was not chosen: leave them out by ~model"
    with pytest.raises(UserError, match=said):
        read_run(composed("model=icl", "+model.optimizer.lr=0.1"))


def test_a_partial_node_is_the_callable_with_its_knobs():
    made = build({"_target_": "builtins.dict", "_partial_": True, "_convert_": "all", "a": {"b": [1]}})
    assert made(c=2) == {"a": {"b": [1]}, "c": 2}
    assert build({"_target_": "builtins.dict", "_recursive_": False, "a": {"_target_": "x"}}) == {
        "a": {"_target_": "x"}
    }


def test_a_block_says_where_its_mistakes_are():
    with pytest.raises(UserError, match=r"^data\.items: no such file$"), at("data.items"):
        raise UserError("no such file")
    with pytest.raises(KeyError), at("data.items"):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("row", "name"), [("cora_din", "cora-ml_100k-din"), ("tallrec", "tallrec-ml_100k"), ("mf", "mf-ml_100k")]
)
def test_a_run_is_called_by_the_models_it_has(row, name):
    config = read_run(composed(f"row={row}", "data=ml_100k", "logger=wandb"))
    assert config.name == config.logger["wandb"]["name"] == name
    assert read_run(composed(f"row={row}", "name=mine")).name == "mine"


@pytest.mark.parametrize("target", [None, 3, [1], {"a": 1}])
def test_a_target_that_is_no_text_is_one_line(target):
    with pytest.raises(UserError, match=r"^model\.optimizer\._target_=.*: no name of a class or function: give one$"):
        check({"_target_": target}, "model.optimizer")


def test_what_has_no_signature_is_one_line():
    with pytest.raises(
        UserError, match=r"^callbacks\.own\._target_=builtins\.dict: nothing that settings can be given"
    ):
        check({"_target_": "builtins.dict", "a": 1}, "callbacks.own")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("model.optimizer.lr=nan", "model.optimizer.lr=nan: give a finite number"),
        ("model.optimizer.betas=[0.9,inf]", "model.optimizer.betas=inf: give a finite number"),
        ("data.positive=inf", "data.positive=inf: give a finite number"),
    ],
)
def test_what_is_wrong_with_a_value_is_said_once(line, said):
    with pytest.raises(UserError) as refusal:
        read_run(composed(line.replace("model.optimizer.betas", "+model.optimizer.betas")))
    assert str(refusal.value) == said


@pytest.mark.parametrize("key", ["model.name", "data.name"])
def test_a_key_that_was_taken_out_is_named(key):
    with pytest.raises(UserError, match=rf"^{key}: missing: give it a value$"):
        compose(f"~{key}")


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        ("model", r"^model\.\w+, .*: there is no method: choose one by model=NAME$"),
        ("first", r"^first\.\w+, .*: model=cora_tuned has no first stage: choose one that has"),
    ],
)
def test_settings_of_no_method_are_one_line(cut, said):
    cfg = composed("model=cora_tuned")
    del cfg[cut]["_target_"]
    with pytest.raises(UserError, match=said):
        read_run(cfg)
