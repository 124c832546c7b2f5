"""BinLLM on a tiny backbone: codes stand in the prompts; `test_contract.py` has that they are read."""

import ipaddress

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from recsys_lora.methods.binllm import check_width, written_codes
from recsys_lora.methods.checkpoint import start_from, trained_state
from recsys_lora.methods.lora import LoRA
from recsys_lora.prompts.template import Example
from recsys_lora.tasks.ctr import of_rows
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved
from tests.methods import factory
from tests.methods.asking import batch_of, prompts_for, step
from tests.methods.factory import binllm
from tests.methods.synthetic import WORDS, TableEncoder
from tests.methods.synthetic import coded as world

COLLM = (
    "#Question: A user has given high ratings to the following movies: {history}. Additionally, we have information "
    "about the user's preferences encoded in the feature <U>. Using all available information, make a prediction about "
    'whether the user would enjoy the movie titled {title} with the feature <I>? Answer with "Yes" or "No". '
    "\n#Answer:"
)


@pytest.fixture(scope="module")
def small():
    return world(users=30, items=30, rows_each=12, titles=[f"Film {number}" for number in range(30)])


@pytest.mark.parametrize(("code", "one", "zero"), [("bits", "1" * 16, "0" * 16), ("dot_decimal", "255.255", "0.0")])
def test_codes_of_the_rows_given_stand_in_the_prompts(code, one, zero):
    data, encoder = world(width=16, users=30, items=30, rows_each=12)
    module = binllm(data, encoder, code=code)
    rows = data.rows("test")
    others = of_rows(rows).of_other_users(1)
    expected = [
        f"would {one if user > 0 else zero} enjoy Film {one if item > 0 else zero}? #Answer:"
        for user, item in zip(encoder.users[others.user, 0], encoder.items[rows.item, 0], strict=True)
    ]
    prompts = prompts_for(module, data, rows, encoder_rows=others).prompts
    texts = [module.backbone.tokenizer.decode(prompts[index]) for index in range(len(rows))]
    assert [text[text.index("would") :] for text in texts] == expected


def test_before_training_scores_are_the_frozen_models_on_the_same_prompts(small):
    data, encoder = small
    module = binllm(data, encoder).eval()
    batch = batch_of(module, data)
    assert torch.equal(module(batch), factory.zero_shot(data).eval()(batch))


def test_only_lora_is_trained_and_all_of_it_from_the_second_step_on(small):
    data, encoder = small
    module = binllm(data, encoder)
    batch = batch_of(module, data)
    step(module, batch, lr=0.5)
    gradients = step(module, batch, lr=0.5)
    assert {label.split(".")[0] for label in gradients} == {"lowrank"}
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())


def test_it_goes_on_from_the_updates_of_a_stage_of_text(small):
    data, encoder = small
    text = factory.tallrec(data)
    batch = batch_of(text, data)
    for _ in range(2):
        step(text, batch, lr=0.5)
    module = binllm(data, encoder)
    start_from(module, trained_state(text), module.name)
    assert torch.equal(module.eval()(batch), text.eval()(batch))
    step(module, batch_of(module, data), lr=0.5)
    assert not torch.equal(module(batch), text(batch))
    other = binllm(data, encoder, **vars(LoRA(rank=4, targets=factory.ALL)))
    with pytest.raises(UserError, match=r"first: .*model=binllm"):
        start_from(other, trained_state(text), other.name)


def test_an_encoder_that_gives_no_codes_is_refused(small):
    data, _ = small
    with pytest.raises(UserError, match=r"no binary codes.*cf=binary_mf"):
        binllm(data, TableEncoder(30, 30, 8))


def test_a_width_that_dot_decimal_cannot_write_is_refused_before_any_work(small):
    data, _ = small
    with pytest.raises(UserError, match="multiple of 8"):
        binllm(data, TableEncoder(30, 30, 12), code="dot_decimal")


def test_the_prompt_is_collms_with_codes_in_place_of_tokens():
    chosen = instantiate(resolved("model=binllm")["model"]["prompt"])
    texts = {"title": "Heat (1995)", "user_code": "0110", "item_code": "1.2"}
    rendered = chosen.render(Example([{"title": "Alien (1979)"}], texts), WORDS)
    expected = COLLM.format(history='"Alien (1979)"', title='"Heat (1995)"')
    assert rendered == expected.replace("<U>", "0110").replace("<I>", "1.2")
    without = chosen.render(Example([], texts), WORDS)
    assert "{" not in without
    assert "0110" in without
    assert without.endswith('with the feature 1.2? Answer with "Yes" or "No". \n#Answer:')


def test_the_config_has_a_stage_of_text_with_the_same_updates_before_it():
    config = resolved("model=binllm")
    assert config["first"]["_target_"] == "recsys_lora.methods.tallrec.TALLRec"
    assert all(config["first"][knob] == config["model"][knob] for knob in vars(LoRA()))
    assert config["cf"]["name"] == "binary_mf"
    assert resolved("model=binllm", "ablation=binllm_one_stage")["first"] is None


def test_codes_only_shows_no_title():
    prompt = instantiate(resolved("model=binllm", "ablation=binllm_codes_only")["model"]["prompt"])
    texts = {"title": "Heat (1995)", "user_code": "0110", "item_code": "1001"}
    rendered = prompt.render(Example([{"title": "Alien (1979)"}], texts), WORDS)
    assert "Heat" not in rendered
    assert "Alien" not in rendered
    assert "0110" in rendered
    assert "1001" in rendered


ADDRESS = "10101100000100001111111000000001"


def code(text):
    return torch.tensor([[1.0 if digit == "1" else -1.0 for digit in text]])


def test_an_address():
    assert written_codes(code(ADDRESS), "bits") == [ADDRESS]
    assert written_codes(code(ADDRESS), "dot_decimal") == ["172.16.254.1"]


def test_any_code_of_32_bits_is_written_as_an_address_is():
    texts = ["".join(row) for row in np.random.default_rng(0).choice(["0", "1"], (50, 32))]
    codes = torch.cat([code(text) for text in texts])
    assert written_codes(codes, "bits") == texts
    assert written_codes(codes, "dot_decimal") == [str(ipaddress.IPv4Address(int(text, 2))) for text in texts]


def test_one_group_and_odd_widths():
    assert written_codes(code("00000101"), "dot_decimal") == ["5"]
    assert written_codes(code("011"), "bits") == ["011"]
    assert written_codes(torch.zeros(0, 8), "dot_decimal") == []


@pytest.mark.parametrize("value", [0.0, 0.5, 2.0, float("nan")])
def test_vectors_that_are_no_codes_are_refused(value):
    vectors = code("0110")
    vectors[0, 2] = value
    with pytest.raises(UserError, match=r"no binary codes.*cf=binary_mf"):
        written_codes(vectors, "bits")


def test_dot_decimal_needs_whole_groups():
    check_width(12, "bits")
    check_width(24, "dot_decimal")
    with pytest.raises(UserError, match=r"12: make cf\.encoder\.dim a multiple of 8, or model\.code=bits"):
        check_width(12, "dot_decimal")
    with pytest.raises(UserError, match="multiple of 8"):
        written_codes(code("011"), "dot_decimal")
