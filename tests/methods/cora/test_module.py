"""What CoRA promises, on a tiny backbone."""

import pytest
import torch
from torch.func import functional_call

from recsys_lora.config.check import check
from recsys_lora.llm.tiny import TinySource
from recsys_lora.lowrank import Generated, Static
from recsys_lora.methods.checkpoint import trained_state
from recsys_lora.prompts.template import Template
from recsys_lora.utils.errors import UserError
from tests.jobs import resolved
from tests.methods import factory
from tests.methods.asking import batch_of, step
from tests.methods.synthetic import TableEncoder, prepared
from tests.rounding import SUM, assert_close

SEVERAL_WIDTHS = ("q_proj", "o_proj", "up_proj", "down_proj")
ABLATIONS = [
    {},
    {"generator": {"kind": "direct"}},
    {"generator": {"input": "pair"}},
    {"generator": {"input": "user"}},
    {"generator": {"input": "user", "kind": "direct"}},
    {"generator": {"queries": 1}},
    {"generator": {"queries": 1, "input": "pair"}},
    {"generator": {"pooling": "per_rank_component"}},
    {"generator": {"normalise": False}},
    {"generator": {"blocks": 3}},
    {"sharing": "per_layer"},
    {"sharing": "per_matrix"},
    {"targets": SEVERAL_WIDTHS},
    {"scope": "suffix"},
    {"text_lora": "tuned"},
    {"text_lora": "fixed"},
    {"score": "yes"},
    {"input_scale": "none"},
    {"dropout": 0.1},
    {"dropout": 0.1, "dropout_per": "token"},
]


@pytest.fixture(scope="module")
def world():
    titles = [f"Film {number} ({1950 + number})" for number in range(30)]
    return prepared(users=30, items=30, rows_each=12, dim=4, titles=titles)


def trained(module, batch, steps=3):
    for _ in range(steps):
        step(module, batch, lr=0.5)
    return module


@pytest.mark.parametrize("score", ["yes", "yes_minus_no"])
def test_before_training_scores_are_the_frozen_models(world, score):
    data, encoder = world
    module, frozen = factory.cora(data, encoder, score=score).eval(), factory.zero_shot(data, score=score).eval()
    batch = batch_of(module, data)
    assert torch.equal(module(batch), frozen(batch))


def test_the_generator_learns_from_the_second_step_on(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    batch = batch_of(module, data)
    first, second = step(module, batch), step(module, batch)
    for label, gradient in first.items():
        zero = bool((gradient == 0).all())
        assert zero == label.startswith("generator."), label
    assert all(gradient.abs().sum() > 0 for gradient in second.values())


@pytest.mark.parametrize("knobs", ABLATIONS, ids=str)
def test_every_trained_parameter_gets_a_gradient_after_two_steps(world, knobs):
    data, encoder = world
    module = factory.cora(data, encoder, **knobs).train()
    batch = batch_of(module, data)
    step(module, batch)
    gradients = step(module, batch)
    assert gradients
    assert not [label for label, gradient in gradients.items() if gradient is None or not gradient.abs().sum() > 0]


def test_only_generator_and_factors_are_trained(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    parts = {label.split(".")[0] for label, p in module.named_parameters() if p.requires_grad}
    assert parts == {"generator", "lowrank"}
    assert not [
        label for label, p in module.named_parameters() if label.startswith("lowrank") and not label.endswith(".P")
    ]


def test_without_a_pair_the_language_model_is_bit_for_bit_the_original(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    batch = batch_of(module, data)
    trained(module, batch).eval()
    original = factory.backbone(data)
    embeds = original.embed(batch.input_ids)
    expected = original.hidden(embeds, batch.attention_mask)
    with module.lowrank.disabled():
        assert torch.equal(module.backbone.hidden(embeds, batch.attention_mask), expected)
    assert not torch.allclose(module.backbone.hidden(embeds, batch.attention_mask), expected, atol=1e-3)


@pytest.mark.parametrize("knobs", [{"targets": SEVERAL_WIDTHS}, {"sharing": "per_layer"}], ids=str)
def test_values_and_gradients_equal_the_loop_that_builds_each_samples_weights(world, knobs):
    data, encoder = world
    module = factory.cora(data, encoder, **knobs)
    batch = batch_of(module, data)
    trained(module, batch).eval()
    original = factory.backbone(data)
    user, items = module.collaborative(batch)
    factors = module.generator(user / module.vector_scale.user, items[:, 0] / module.vector_scale.item)
    scores = []
    for index in range(len(batch)):
        weights = {}
        for label, layer in module.lowrank.layers.items():
            [source] = layer.sources
            change = 16.0 / 8 * source.P @ factors[source.key][index].T  # (out, in)
            weights[f"{label}.weight"] = layer.base.weight + change
        length = int(batch.attention_mask[index].sum())
        ids = batch.input_ids[index : index + 1, :length]
        logits = functional_call(original.model, weights, kwargs={"input_ids": ids}).logits[0, -1]
        yes, no = module.answers.choices[0].token_ids
        scores.append(logits[yes] - logits[no])
    looped, batched = torch.stack(scores), module(batch)
    assert_close(batched, looped)
    parameters = {label: p for label, p in module.named_parameters() if p.requires_grad}
    weight = torch.linspace(-1, 1, len(batch))
    expected = torch.autograd.grad((looped * weight).sum(), list(parameters.values()))
    got = torch.autograd.grad((batched * weight).sum(), list(parameters.values()))
    for label, one, other in zip(parameters, got, expected, strict=True):
        assert_close(one, other, what=label)


def looped_suffix(module, batch, data):
    """The scores of each sample by itself: W0 + ΔW of its pair on the tokens from the title on, W0 before."""
    original = factory.backbone(data).model
    user, items = module.collaborative(batch)
    factors = module.generator(user / module.vector_scale.user, items[:, 0] / module.vector_scale.item)
    scores = []
    for index in range(len(batch)):
        real = batch.attention_mask[index]
        first = int(batch.title_start[index] - real.long().argmax())
        hooks = []
        for label, layer in module.lowrank.layers.items():
            [source] = layer.sources
            change = 16.0 / 8 * source.P @ factors[source.key][index].T  # (out, in)

            def hook(part, args, y, change=change, first=first):
                return torch.cat([y[:, :first], y[:, first:] + args[0][:, first:] @ change.T], dim=1)

            hooks.append(original.get_submodule(label).register_forward_hook(hook))
        logits = original(input_ids=batch.input_ids[index, real][None]).logits[0, -1]
        yes, no = module.answers.choices[0].token_ids
        scores.append(logits[yes] - logits[no])
        for handle in hooks:
            handle.remove()
    return torch.stack(scores)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("knobs", [{}, {"targets": SEVERAL_WIDTHS, "sharing": "per_layer"}], ids=str)
def test_on_the_suffix_values_and_gradients_equal_the_loop(world, knobs, padding, checkpointing):
    data, encoder = world
    saving = TinySource(gradient_checkpointing=checkpointing).load(data.titles[1:], "cpu")
    plain = factory.cora(data, encoder, scope="suffix", **knobs)
    batch = batch_of(plain, data, padding=padding)
    assert len(set(batch.attention_mask.sum(1).tolist())) > 1
    module = factory.cora(data, encoder, scope="suffix", backbone=saving, **knobs).train()
    module.load_state_dict(trained_state(trained(plain, batch)), strict=False)
    weight = torch.linspace(-1, 1, len(batch))
    looped, found = looped_suffix(module, batch, data), []
    for scores in (looped, module(batch)):
        module.zero_grad()
        (scores * weight).sum().backward()
        found.append({label: p.grad for label, p in module.named_parameters() if p.requires_grad})
    assert_close(scores, looped)
    for label, expected in found[0].items():
        assert_close(found[1][label], expected, what=label)
        assert expected.abs().max() > 0, label


@pytest.mark.parametrize("padding", ["left", "right"])
def test_on_the_suffix_what_stands_before_the_title_is_the_frozen_models(world, padding):
    data, encoder = world
    module = factory.cora(data, encoder, scope="suffix")
    batch = batch_of(module, data, padding=padding)
    trained(module, batch).eval()
    states = module.hidden(batch)
    with module.lowrank.disabled():
        frozen = module.backbone.hidden(module.backbone.embed(batch.input_ids), batch.attention_mask)
    acts, real = module.acts_at(batch), batch.attention_mask
    assert torch.equal(states[real & ~acts], frozen[real & ~acts])
    assert (states - frozen).abs().amax(-1)[real & acts].min() > 1e-4
    whole = factory.cora(data, encoder)
    whole.load_state_dict(trained_state(module), strict=False)
    assert not torch.allclose(whole.eval()(batch), module(batch), atol=1e-4)


def test_by_default_batches_do_not_say_where_titles_begin(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    batch = batch_of(module, data)
    assert batch.title_start is None
    assert module.acts_at(batch) is None
    with pytest.raises(ValueError, match="where the title begins"):
        factory.cora(data, encoder, scope="suffix")(batch)


@pytest.mark.parametrize("texts", [("{history}: good?", "Is {title} good?"), ("{history}: {title}?", "Good?")])
def test_a_suffix_without_a_title_is_refused(world, texts):
    with pytest.raises(UserError, match=r"model\.scope=suffix .* put \{title\} or \{candidates\} into"):
        factory.cora(*world, scope="suffix", prompt=Template(*texts))


@pytest.mark.parametrize(
    ("overrides", "name", "scope"),
    [
        ((), "cora", "all"),
        (("model.scope=suffix",), "cora", "suffix"),
        (("ablation=cora",), "cora", "all"),
        (("ablation=cora_suffix",), "cora_suffix", "suffix"),
    ],
)
def test_configs_choose_the_scope(overrides, name, scope):
    config = resolved("model=cora", *overrides)
    check(config)
    assert (config["model"]["name"], config["model"]["scope"]) == (name, scope)


def test_each_input_width_has_one_weight_head(world):
    data, encoder = world
    assert set(factory.cora(data, encoder).generator.widths.values()) == {64}
    assert factory.cora(data, encoder, targets=SEVERAL_WIDTHS).generator.widths == {"width64": 64, "width128": 128}


def test_the_spread_of_the_vectors_is_measured_on_training_rows(world):
    data, encoder = world
    module, rows = factory.cora(data, encoder), data.rows("train")
    module.calibrate(data, rows)
    user, item = encoder.encode(torch.from_numpy(rows.user), None, torch.from_numpy(rows.item))
    assert_close(module.vector_scale.user, user.std(), SUM)
    assert_close(module.vector_scale.item, item.std(), SUM)
    raw = factory.cora(data, encoder, input_scale="none")
    raw.calibrate(data, rows)
    assert raw.vector_scale.user.item() == 1


def test_an_encoder_whose_vectors_are_all_the_same_is_refused(world):
    data, _ = world
    empty = TableEncoder(30, 30, 4)
    empty.users.data.zero_()
    with pytest.raises(UserError, match="refit"):
        factory.cora(data, empty).calibrate(data, data.rows("train"))


def test_a_projection_that_the_backbone_lacks_is_named(world):
    data, encoder = world
    with pytest.raises(UserError, match=r"c_attn.*choose targets from.*q_proj"):
        factory.cora(data, encoder, targets=["c_attn"])


def test_the_encoder_stays_in_evaluation_mode(world):
    data, _ = world
    module = factory.cora(data, TableEncoder(30, 30, 4))
    module.train()
    assert module.generator.training
    assert not module.encoder.training
    assert not module.backbone.model.training


def test_beside_a_bfloat16_backbone_float32_is_trained(world):
    data, encoder = world
    half = TinySource(dtype="bfloat16").load(data.titles[1:], "cpu")
    module, exact = factory.cora(data, encoder, backbone=half), factory.cora(data, encoder)
    batch = batch_of(module, data)
    exact.load_state_dict(trained_state(trained(module, batch)), strict=False)
    assert {p.dtype for p in module.parameters() if p.requires_grad} == {torch.float32}
    scores = module.eval()(batch)
    assert scores.dtype == torch.float32
    assert_close(scores, exact.eval()(batch), 8, dtype=torch.bfloat16)


def test_releasing_the_backbone_gives_the_original_back(world):
    data, encoder = world
    module = factory.cora(data, encoder)
    batch = batch_of(module, data)
    trained(module, batch)
    expected = factory.zero_shot(data).eval()(batch)
    assert not torch.equal(module.eval()(batch), expected)
    module.release()
    assert torch.equal(factory.zero_shot(data, backbone=module.backbone).eval()(batch), expected)


def test_text_lora_that_is_fixed_has_no_dropout_from_the_first_step_on(world):
    data, encoder = world
    module = factory.cora(data, encoder, text_lora="fixed", dropout=0.5)
    static = [layer for layer in module.lowrank.modules() if isinstance(layer, Static)]
    generated = [layer for layer in module.lowrank.modules() if isinstance(layer, Generated)]
    assert static
    assert not any(layer.training for layer in static)
    assert all(layer.training for layer in generated)
