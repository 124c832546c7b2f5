"""An object's own complaint names the config key it was made from."""

import pytest

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
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        build({"_target_": "operator.truediv", "_args_": [1, 0]}, "model")
    assert not isinstance(caught.value, UserError)


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
