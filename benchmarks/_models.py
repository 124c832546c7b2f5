"""Backbones and collaborative vectors of the benchmarks; nothing is downloaded unless requested."""

import argparse
from collections.abc import Callable
from typing import Any

from recsys_lora.llm.source import Attention

SIZES: dict[str, dict[str, int]] = {
    "llama_30m": {
        "vocab_size": 32_000,
        "hidden_size": 384,
        "num_hidden_layers": 9,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "intermediate_size": 1_152,
    },
    "llama_135m": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1_536,
    },
    "llama_1b": {
        "vocab_size": 128_256,
        "hidden_size": 2_048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8_192,
    },
    "llama_7b": {
        "vocab_size": 32_000,
        "hidden_size": 4_096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "intermediate_size": 11_008,
    },
    "tiny": {
        "vocab_size": 2_048,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
    },
}
"""Llamas with random weights: `llama_135m` has the shape of SmolLM2-135M, `llama_1b` that of Llama 3.2 1B, `llama_7b`
that of Llama 7B."""
FETCHED = ("smollm2_135m", "gemma3_270m", "qwen25_coder_0_5b", "qwen25_coder_1_5b")


def add_backbone(parser: argparse.ArgumentParser, default: str = "llama_30m", dtype: str = "float32") -> None:
    """Add `--llm` and `--dtype` to a parser."""
    parser.add_argument(
        "--llm", default=default, choices=(*SIZES, *FETCHED), help="with random weights, or one fetched to the cache"
    )
    parser.add_argument("--dtype", default=dtype, choices=("auto", "float32", "bfloat16", "float16"))


def load(options: argparse.Namespace, texts: list[str], attention: Attention = "auto") -> Any:
    """Return the requested `Backbone`.

    Args:
        options: the command line, with `llm`, `dtype` and `device`.
        texts: words for the tokenizer of a random model to learn.
        attention: kind of attention.
    """
    from recsys_lora.llm.fetched import FetchedSource

    if options.llm in FETCHED:
        return FetchedSource(options.llm, dtype=options.dtype, attention=attention).load([], options.device)

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from recsys_lora.llm.dtype import resolve_dtype
    from recsys_lora.llm.source import BackboneSource
    from recsys_lora.llm.tiny import SPECIAL, train_tokenizer

    size = dict(SIZES[options.llm])
    if getattr(options, "blocks", None):
        size["num_hidden_layers"] = options.blocks
    tokenizer = train_tokenizer(texts, min(4_096, size["vocab_size"]))
    pad, begin, end = tokenizer.convert_tokens_to_ids(list(SPECIAL))
    config = LlamaConfig(
        **size,
        pad_token_id=pad,
        bos_token_id=begin,
        eos_token_id=end,
        max_position_embeddings=1_024,
        tie_word_embeddings=True,
        initializer_range=0.05,
    )
    dtype, usual = resolve_dtype(options.dtype, options.device), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:  # on the device and in its dtype from the start: few machines can hold 7 B in float32
        with torch.random.fork_rng(), torch.device(options.device):
            torch.manual_seed(0)
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(usual)
    loading = BackboneSource(options.dtype, attention, False, False)
    return loading.backbone(model, tokenizer, options.device, {"benchmark": options.llm}, options.llm)


def about(backbone: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Describe the backbone, for the line on the environment."""
    millions = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    return {"llm": f"{options.llm} ({millions:.0f} M)", "dtype": str(backbone.dtype).removeprefix("torch.")}


def largest_logit(backbone: Any, device: str) -> float:
    """Return the largest absolute logit after a short prompt: the scale of a difference's rounding error."""
    import torch

    tokens = torch.arange(10, 30, device=device)[None]
    with torch.inference_mode():
        return float(backbone.model(input_ids=tokens).logits[:, -1].abs().max())


def tokens_read(backbone: Any, step: Callable[[], Any]) -> int:
    """Run a step and return the number of tokens, including padding, in its forward passes through the body."""
    from recsys_lora.llm.compiling import decoder_blocks

    counts = []
    first = decoder_blocks(backbone.model)[0]
    handle = first.register_forward_pre_hook(lambda block, inputs: counts.append(inputs[0].shape[:2].numel()))
    try:
        step()
    finally:
        handle.remove()
    return sum(counts)


def vectors(users: int, items: int, dim: int) -> Any:
    """Return a stand-in for a fitted encoder, with fixed random vectors (dim,) by user and item number."""
    import torch
    from torch import Tensor, nn

    class Vectors(nn.Module):
        """Random e_u and e_i."""

        history_length = 0

        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.user_dim = self.item_dim = dim
            self.register_buffer("users", torch.randn(users + 1, dim, generator=generator))
            self.register_buffer("items", torch.randn(items + 1, dim, generator=generator))

        def encode(self, user: Tensor, history: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
            """Return e_u and e_i, (n, dim) each."""
            return self.users[user], self.items[item]

    return Vectors()


def ckf(backbone: Any, encoder: Any, **knobs: Any) -> Any:
    """Return CKF as in its default config, but without dropout, in which two sides would differ."""
    from recsys_lora.methods.ckf.mapping import CollaborativeMapping
    from recsys_lora.methods.ckf.module import CKFMultiTaskModule
    from recsys_lora.methods.ckf.objective import Objective
    from recsys_lora.methods.optimizer import OptimizerSettings

    return CKFMultiTaskModule(
        name="ckf",
        optimizer=OptimizerSettings(),
        objective=Objective(),
        mapping=CollaborativeMapping,
        input_scale="none",
        lora="multi",
        dropout=0.0,
        dropout_per="sample",
        shared_targets=["k_proj", "v_proj", "o_proj"],
        specific_targets=["q_proj"],
        backbone=backbone,
        encoder=encoder,
        **knobs,
    )
