"""Tiny random decoders of several families."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tests.rounding import assert_close

SMALL = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


def tiny(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel
    match family:
        case "llama":
            model = LlamaForCausalLM(LlamaConfig(**SMALL, **HEADS, initializer_range=0.2))
        case "qwen2":
            model = Qwen2ForCausalLM(Qwen2Config(**SMALL, **HEADS, initializer_range=0.2))
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    torch.nn.init.normal_(parameter)
        case "gemma3":  # 2 heads of 24: the input of o_proj is 48 wide, not 32
            config = Gemma3TextConfig(
                **SMALL,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=24,
                max_position_embeddings=64,
                sliding_window=8,
                final_logit_softcapping=5.0,
                initializer_range=0.2,
            )
            model = Gemma3ForCausalLM(config)
        case "gpt2":
            model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64))
        case _:
            raise ValueError(family)
    return model.eval()


def checkpointed(model: PreTrainedModel) -> PreTrainedModel:
    """Turn gradient checkpointing on; only the blocks' own flags say training, so that dropout rests."""
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})
    for module in model.modules():
        module.training = getattr(module, "gradient_checkpointing", False)
    return model


def randomise(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def weigh(hidden: torch.Tensor) -> torch.Tensor:
    """Return a loss that feels every entry (the mean square would not, behind a norm)."""
    return (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).mean()


def assert_same(found: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> None:
    for got, expected in zip(found, right, strict=True):
        assert_close(got, expected)
        assert expected.abs().max() > 0


FAMILIES = ("llama", "qwen2", "gemma3", "gpt2")
TARGETS = {"llama": ALL, "qwen2": ALL, "gemma3": ALL, "gpt2": ("c_attn", "c_proj", "c_fc")}
