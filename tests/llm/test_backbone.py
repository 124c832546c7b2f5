"""A frozen backbone gives what the library gives, whoever shares the batch and on whichever side it is padded."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import CohereConfig, CohereForCausalLM, GraniteConfig, GraniteForCausalLM, PreTrainedTokenizerFast

from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.probe import check_backbone
from recsys_lora.lowrank import Generated, inject
from recsys_lora.utils.errors import UserError
from tests.lowrank.families import FAMILIES, HEADS, SMALL, TARGETS, tiny
from tests.rounding import assert_close

PROMPTS = [[5, 9, 31, 7, 80, 2, 44], [61, 3, 3], [12], [90, 91, 17, 60, 1]]


def word_tokenizer() -> Any:
    vocabulary = {f"w{number}": number for number in range(97)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="w1", unk_token="w0")


def backbone_of(model: Any, **options: bool) -> Backbone:
    return Backbone(model, word_tokenizer(), {"test": True}, "a test", **options)


def padded(side: str, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), 96)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        place = slice(0, len(prompt)) if side == "right" else slice(width - len(prompt), width)
        ids[row, place] = torch.tensor(prompt)
        mask[row, place] = True
    return ids, mask


def score(backbone: Backbone, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        hidden = backbone.hidden(backbone.embed(ids), mask)
        return backbone.logits_at(backbone.last(hidden, mask), [4, 50, 11])


def logit_families() -> list[Any]:
    """Families that do something to their logits after the head."""
    torch.manual_seed(0)
    cohere = CohereConfig(**SMALL, **HEADS, logit_scale=0.3, initializer_range=0.2, pad_token_id=0, bos_token_id=1)
    granite = GraniteConfig(**SMALL, **HEADS, logits_scaling=7.0, initializer_range=0.2)
    return [CohereForCausalLM(cohere).eval(), GraniteForCausalLM(granite).eval()]


@pytest.mark.parametrize("model", [*map(tiny, FAMILIES), *logit_families()], ids=lambda m: type(m).__name__)
def test_logits_are_the_library_s(model: Any) -> None:
    backbone = backbone_of(model)
    for prompt in PROMPTS:
        with torch.no_grad():
            expected = model(torch.tensor([prompt])).logits[:, -1, [4, 50, 11]]
        got = score(backbone, torch.tensor([prompt]), torch.ones(1, len(prompt)))
        assert_close(got, expected)
        assert got.dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_depends_on_no_batch_mate_and_no_padding(family: str) -> None:
    backbone = backbone_of(tiny(family))
    injection = inject(
        backbone.model, TARGETS[family], lambda s: [Generated(str(s.in_features), s.in_features, s.out_features, 2, 4)]
    )
    for parameter in injection.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    shapes = injection.state.shapes
    factors = {key: 0.3 * torch.randn(len(PROMPTS), s.in_features, 2) for key, s in shapes.items()}
    alone = []
    for row, prompt in enumerate(PROMPTS):
        injection.state.set({key: factor[row : row + 1] for key, factor in factors.items()})
        alone.append(score(backbone, torch.tensor([prompt]), torch.ones(1, len(prompt))))
    injection.state.set(factors)
    for side in ("left", "right"):
        assert_close(score(backbone, *padded(side, PROMPTS)), torch.cat(alone))


def test_it_is_frozen_and_never_in_training_mode() -> None:
    model = tiny("gpt2")  # whose dropout is .1
    backbone = backbone_of(model)
    backbone.train()
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


class Counter:
    """Counts the entries of tensors kept for the backward pass."""

    entries = 0

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        self.entries += tensor.numel()
        return tensor


def test_gradient_checkpointing_changes_no_gradient_and_saves_memory() -> None:
    saved, gradients = [], []
    ids, mask = padded("left", PROMPTS)
    for checkpointing in (False, True):
        backbone = backbone_of(tiny("gpt2"), gradient_checkpointing=checkpointing)
        injection = inject(
            backbone.model, ["c_attn", "c_fc"], lambda s: [Generated("a", s.in_features, s.out_features, 2, 4)]
        )
        for number, parameter in enumerate(injection.parameters()):
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
        factor = torch.linspace(-1, 1, 4 * 32 * 2).view(4, 32, 2).requires_grad_()
        count = Counter()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
            injection.state.set({"a": factor})
            hidden = backbone.hidden(backbone.embed(ids), mask)
            loss = backbone.logits_at(backbone.last(hidden, mask), [4, 50]).diff().sum()
        loss.backward()
        saved.append(count.entries)
        gradients.append([factor.grad, *(parameter.grad for parameter in injection.parameters())])
    assert saved[1] < 0.5 * saved[0]
    for plain, checkpointed in zip(*gradients, strict=True):
        assert_close(checkpointed, plain)
        assert plain is not None
        assert plain.abs().max() > 0


def test_a_head_with_unknown_habits_is_refused() -> None:
    model = tiny("llama")
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda module, args, output: 2 * output)
    with pytest.raises(UserError, match="LlamaForCausalLM changes its logits"):
        check_backbone(backbone_of(model))


def test_logits_that_are_no_numbers_are_refused() -> None:
    model = tiny("llama")
    model.get_output_embeddings().register_forward_hook(lambda module, args, output: output / 0)
    with pytest.raises(UserError, match="its logits are not finite: set llm"):
        check_backbone(backbone_of(model))


def test_a_body_that_sees_padding_is_refused() -> None:
    model = tiny("llama")
    forward = model.base_model.forward

    def blind(attention_mask: Any = None, position_ids: Any = None, **more: Any) -> Any:
        return forward(**more)

    model.base_model.forward = blind
    with pytest.raises(UserError, match="when it is padded"):
        check_backbone(backbone_of(model))


def test_no_chat_template_is_said() -> None:
    with pytest.raises(UserError, match="no chat template"):
        backbone_of(tiny("llama"), chat_template=True)


def test_prompts_are_wrapped() -> None:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<answer>{% endif %}"
    )
    backbone = Backbone(tiny("llama"), tokenizer, {}, "a test", chat_template=True)
    assert backbone.wrap is not None
    assert backbone.wrap("is it {good}? ") == "<user>is it {good}? <end><answer>"
