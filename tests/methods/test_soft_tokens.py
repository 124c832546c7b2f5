"""What CoLLM, GraphLoRA, PersonPrompt and Prompt4NR promise alike: their soft tokens, gradients and checkpoints.

`test_contract.py` has that the scores of trained methods do not depend on batch mates.
"""

import pytest
import torch

from recsys_lora.methods.checkpoint import load_checkpoint
from tests.methods import factory
from tests.methods.asking import batch_of, gradients, with_updates
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close


def mapped(module, encoder, batch, row):
    first, _, last = module.mapping
    sides = torch.stack([encoder.users[batch.user[row]], encoder.items[batch.item[row]]])
    return (sides @ first.weight.T + first.bias).clamp_min(0) @ last.weight.T + last.bias


def looked_up(module, _, batch, row):
    return torch.stack([module.users.weight[batch.user[row]], module.items.weight[batch.item[row]]])


MAKE = {
    "collm": factory.collm,
    "graphlora": factory.graphlora,
    "person_prompt": lambda data, _, **knobs: factory.person_prompt(data, **knobs),
    "prompt4nr": lambda data, _, **knobs: factory.prompt4nr(data, **knobs),
}
VECTORS = {
    "collm": ({"input_scale": "none"}, mapped),
    "graphlora": ({"input_scale": "none"}, mapped),
    "person_prompt": ({}, looked_up),
    "prompt4nr": ({}, lambda module, *_: module.vectors),
}
TRAINED = [
    ("collm", {}, ["mapping"]),
    ("collm", {"tune_lora": True}, ["lowrank", "mapping"]),
    ("collm", {"tune_encoder": True}, ["mapping", "tuned_encoder"]),
    ("collm", {"tune_encoder": True, "tune_lora": True}, ["lowrank", "mapping", "tuned_encoder"]),
    ("graphlora", {}, ["graph", "lowrank", "mapping", "tuned_encoder"]),
    ("graphlora", {"layer": "all"}, ["graph", "lowrank", "mapping", "tuned_encoder"]),
    ("graphlora", {"graph": {"kind": "lightgcn"}}, ["graph", "lowrank", "mapping", "tuned_encoder"]),
    ("graphlora", {"tune_encoder": False}, ["graph", "lowrank", "mapping"]),
    ("graphlora", {"beta": 0.0}, ["lowrank", "mapping", "tuned_encoder"]),
    ("person_prompt", {}, ["items", "users"]),
    ("person_prompt", {"tune_lora": True}, ["items", "lowrank", "users"]),
    ("prompt4nr", {}, ["lowrank", "vectors"]),
]


@pytest.fixture(scope="module")
def world():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])


@pytest.mark.parametrize("name", VECTORS)
def test_before_training_the_frozen_model_reads_the_methods_vectors(world, name):
    data, encoder = world
    knobs, vectors = VECTORS[name]
    module, original = MAKE[name](data, encoder, **knobs).eval(), factory.backbone(data)
    batch = batch_of(module, data)
    yes, no = module.answers.choices[0].token_ids
    for row in range(len(batch)):
        embeds = original.embed(batch.input_ids[row : row + 1, : int(batch.attention_mask[row].sum())]).clone()
        places = batch.soft_positions[row]
        assert len(set(places.tolist())) == len(module.soft_names)
        embeds[0, places] = vectors(module, encoder, batch, row)
        logits = original.model(inputs_embeds=embeds).logits[0, -1]
        assert_close(module(batch)[row], logits[yes] - logits[no])


@pytest.mark.parametrize(("name", "knobs", "parts"), TRAINED, ids=str)
def test_what_is_trained_gets_a_gradient_and_nothing_else_does(world, name, knobs, parts):
    data, encoder = world
    module = with_updates(MAKE[name](data, encoder, **knobs)).train()
    found = gradients(module, batch_of(module, data))
    assert sorted({label.split(".")[0] for label in found}) == parts
    assert not [label for label, gradient in found.items() if gradient is None or not gradient.abs().sum() > 0]
    assert not any(p.requires_grad for p in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("collm", {}),
        ("collm", {"tune_encoder": True}),
        ("graphlora", {}),
        ("graphlora", {"graph": {"kind": "lightgcn"}}),
        ("graphlora", {"beta": 0.0}),
        ("prompt4nr", {}),
    ],
    ids=str,
)
def test_a_loaded_module_scores_as_the_saved_one(world, tmp_path, name, knobs):
    data, encoder = world
    module = with_updates(MAKE[name](data, encoder, **knobs))
    trainer = factory.trainer(max_steps=2)
    trainer.fit(module, module.datamodule(data, WORDS, seed=0))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = MAKE[name](data, encoder, seed=9, **knobs)
    batch = batch_of(module, data)
    assert not torch.equal(other.eval()(batch), module.eval()(batch))
    load_checkpoint(tmp_path / "last.ckpt", other, other.identity)
    assert torch.equal(other.eval()(batch), module.eval()(batch))


def test_learned_tokens_start_as_spread_as_the_embeddings(world):
    person, prompt = factory.person_prompt(world[0]), factory.prompt4nr(world[0])
    expected = factory.backbone(world[0]).model.get_input_embeddings().weight.std().item()
    for learned in (person.users.weight[1:], person.items.weight[1:], prompt.vectors):
        assert learned.std().item() == pytest.approx(expected, rel=0.15)
