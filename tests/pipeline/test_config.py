"""An object's own complaint names the config key it was made from."""

import pytest

from recsys_lora.errors import UserError, at
from recsys_lora.pipeline.config import build

TEMPLATE = "recsys_lora.prompts.template.Template"


def test_a_mistake_names_the_node_it_is_in():
    with pytest.raises(UserError, match=r"^model\.prompt: expected .*: write a brace that is no slot twice$"):
        build({"_target_": TEMPLATE, "text": "a { b", "no_history": "b"}, "model.prompt")


def test_a_mistake_in_a_nested_node_names_the_whole_way_to_it():
    prompt = {"_target_": TEMPLATE, "text": "a", "no_history": "{history}"}
    node = {"_target_": "builtins.dict", "text": prompt}
    with pytest.raises(UserError, match=r"^model\.tasks\.ctr\.text: no_history has the slot \{history\}"):
        build(node, "model.tasks.ctr")


def test_a_defect_is_not_dressed_up_as_a_mistake():
    with pytest.raises(Exception, match="ZeroDivisionError") as caught:
        build({"_target_": "operator.truediv", "_args_": [1, 0]}, "model")
    assert not isinstance(caught.value, UserError)


def test_a_block_says_where_its_mistakes_are():
    with pytest.raises(UserError, match=r"^data\.items: no such file$"), at("data.items"):
        raise UserError("no such file")
    with pytest.raises(KeyError), at("data.items"):
        raise KeyError("x")
