"""What Prompt4NR promises, on a tiny backbone."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch.nn import functional

from recsys_lora.methods.checkpoint import load_checkpoint
from recsys_lora.prompts.template import SOFT, Example
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved
from tests.methods import factory
from tests.methods.asking import prompts_for
from tests.methods.synthetic import WORDS, prepared
from tests.rounding import assert_close


@pytest.fixture(scope="module")
def data():
    return prepared(users=20, items=20, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(20)])[0]


def prompts_of(module, data, rows=5):
    return prompts_for(module, data, data.rows("train").take(np.arange(rows) * 7))


def test_before_training_the_frozen_model_reads_the_six_vectors(data):
    module, original = factory.prompt4nr(data).eval(), factory.backbone(data)
    batch = prompts_of(module, data).batch(np.arange(5), module.backbone.pad_id, "right")
    yes, no = module.answers.choices[0].token_ids
    for index in range(len(batch)):
        embeds = original.embed(batch.input_ids[index : index + 1, : int(batch.attention_mask[index].sum())]).clone()
        places = batch.soft_positions[index].tolist()
        assert len(set(places)) == 6
        for place, vector in zip(places, module.vectors, strict=True):
            embeds[0, place] = vector
        logits = original.model(inputs_embeds=embeds).logits[0, -1]
        assert_close(module(batch)[index], logits[yes] - logits[no])


def test_the_vectors_start_as_spread_as_the_embeddings(data):
    module = factory.prompt4nr(data)
    expected = factory.backbone(data).model.get_input_embeddings().weight.std().item()
    assert module.vectors.std().item() == pytest.approx(expected, rel=0.15)


def test_vectors_and_updates_are_trained_and_get_gradients(data):
    module = factory.prompt4nr(data).train()
    with torch.no_grad():
        for p in module.lowrank.parameters():
            p.normal_(std=0.1)
    batch = prompts_of(module, data).batch(np.arange(5), module.backbone.pad_id, "right")
    functional.binary_cross_entropy_with_logits(module(batch), batch.label).backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    assert {name.split(".")[0] for name in found} == {"vectors", "lowrank"}
    assert bool((module.vectors.grad.abs().sum(1) > 0).all())
    assert not [name for name, gradient in found.items() if gradient is None or not gradient.abs().sum() > 0]


@pytest.mark.parametrize("padding", ["left", "right"])
def test_rows_of_a_batch_do_not_touch_each_other(data, padding):
    module = factory.prompt4nr(data).eval()
    rows = prompts_of(module, data)
    together = module(rows.batch(np.arange(5), 0, padding))
    alone = torch.cat([module(rows.batch(np.array([index]), 0, "right")) for index in range(5)])
    assert_close(together, alone)


def test_a_loaded_module_scores_as_the_saved_one(data, tmp_path):
    module = factory.prompt4nr(data)
    trainer = factory.trainer(max_steps=2)
    trainer.fit(module, module.datamodule(data, WORDS, seed=0))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = factory.prompt4nr(data, seed=9)
    assert not torch.equal(other.vectors, module.vectors)
    load_checkpoint(tmp_path / "last.ckpt", other, other.identity)
    batch = prompts_of(module, data).batch(np.arange(5), 0, "right")
    assert torch.equal(other.eval()(batch), module.eval()(batch))


def test_another_soft_token_is_refused(data):
    with pytest.raises(UserError, match="<user>: choose from <u1>"):
        factory.prompt4nr(data, prompt=factory.soft_template())


def test_the_wording_has_three_vectors_before_the_history_and_three_before_the_title():
    template = instantiate(resolved("model=prompt4nr")["model"]["prompt"])
    assert template.soft_names == ["u1", "u2", "u3", "i1", "i2", "i3"]
    words, title = {"item": "book", "items": "books"}, {"title": "Emma"}
    with_history = template.render(Example([{"title": "Walden"}], title), words)
    question = "Using all available information, make a prediction about whether the user would enjoy the book?"
    three = ".".join(SOFT * 3)
    ending = f'[SEP] {three} "Emma" [SEP] {question} Answer with "Yes" or "No". \n#Answer:'
    assert with_history == f'#Question: {three} "Walden" {ending}'
    assert template.render(Example([], title), words) == f"#Question: {three} no book yet {ending}"
