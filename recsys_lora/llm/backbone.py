"""A frozen causal language model and a few calls: embed, hidden, last, logits_at, all_logits, forward_with_cache."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.llm.attention import padded_right
from recsys_lora.llm.compiling import LENGTH_BUCKET
from recsys_lora.llm.head import Head
from recsys_lora.utils.errors import UserError


class Backbone(nn.Module):
    """A decoder as loaded by `transformers`: frozen, never in training mode, and without its (B, T, V) logits.

    Attributes:
        model: the `transformers` model.
        tokenizer: its tokenizer.
        identity: what artifacts and checkpoints depend on, JSON-serialisable.
        label: its name in tables.
        hidden_size: H.
        context_length: maximum number of tokens.
        pad_id: the token that pads short prompts.
        wrap: puts a prompt into the chat template; None to leave prompts unchanged.
        graphs: whether its blocks are recorded as CUDA graphs, for a few prompt lengths: see `compiling.py`.
        sharded: whether its blocks are sharded over the job's processes, which must then all run the same forwards.
    """

    model: Any

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        identity: dict[str, Any],
        label: str,
        chat_template: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        """Freeze the model; `probe.check_backbone` checks whether its scores can be trusted.

        Raises:
            UserError: a chat template is requested, but the tokenizer has none.
        """
        super().__init__()
        self.sharded = False
        self.graphs = False
        self.model = model.requires_grad_(False)
        self.tokenizer = tokenizer
        self.identity = identity
        self.label = label
        config = self.model.config.get_text_config()
        config.use_cache = False
        self.hidden_size: int = config.hidden_size
        self.context_length = int(getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        self.pad_id: int = tokenizer.pad_token_id
        self.wrap: Callable[[str], str] | None = _chat_wrap(tokenizer, label) if chat_template else None
        self._takes_positions = "position_ids" in inspect.signature(self.model.base_model.forward).parameters
        self._head = Head(self.model)
        self._checkpointed = _checkpointed_blocks(self.model) if gradient_checkpointing else []
        self.train()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        found: torch.device = self.model.device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        found: torch.dtype = self.model.dtype
        return found

    @property
    def size(self) -> int:
        """The number of parameters, packed ones counted one by one, without added low-rank layers."""
        return int(self.model.num_parameters())

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input embeddings (B, T, H) of token ids (B, T)."""
        embeds: Tensor = self.model.get_input_embeddings()(ids)
        return embeds

    def hidden(self, embeds: Tensor, mask: Tensor, right: bool = False) -> Tensor:
        """Return the last hidden state, after the final norm and before the head.

        Positions count only real tokens, so a prompt gets the same states with either padding side and in any batch.

        Args:
            embeds: (B, T, H).
            mask: (B, T), true or 1 at real tokens, which are contiguous at the right or at the left.
            right: all padding is known to be on the right, where causal attention needs no mask.

        Returns:
            (B, T, H); arbitrary at padding.
        """
        if self.graphs and not torch.is_grad_enabled():
            self.begin_step()
        tokens = embeds.shape[1]
        if more := self.read_tokens(tokens) - tokens:
            embeds, mask = functional.pad(embeds, (0, 0, 0, more)), functional.pad(mask, (0, more))
        with padded_right(right):
            states: Tensor = self._body(embeds, mask, use_cache=False).last_hidden_state
        return states[:, :tokens]

    def read_tokens(self, tokens: int) -> int:
        """Return how many tokens `hidden` reads for prompts padded to `tokens`: with graphs, the next multiple."""
        return -(-tokens // LENGTH_BUCKET) * LENGTH_BUCKET if self.graphs else tokens

    def begin_step(self) -> None:
        """Let graphs reuse the memory of earlier steps, whose results must not be read afterwards."""
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def forward_with_cache(self, embeds: Tensor, mask: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Return the states of new tokens after those in the cache, and the cache of both.

        Args:
            embeds: input embeddings of the new tokens (B, T, H).
            mask: (B, P + T), true or 1 at real tokens, of the P tokens in the cache and the new ones.
            cache: the cache returned by an earlier call, which is changed in place; None if nothing was read before.

        Returns:
            Hidden states (B, T, H) as in `hidden`, and a cache of `transformers`.

        Raises:
            ValueError: gradient checkpointing is on and in training mode, where there is no cache.
        """
        if any(block.training for block in self._checkpointed):
            raise ValueError("with gradient checkpointing there is no cache in training mode: call eval() before")
        # A cache outlives the step that graphs were recorded in.
        with torch.compiler.set_stance("force_eager") if self.graphs else nullcontext():
            output = self._body(embeds, mask, use_cache=True, past_key_values=cache)
        return output.last_hidden_state, output.past_key_values

    def check_room(self, tokens: int) -> None:
        """Reject a prompt and answer that are together longer than the model can read.

        Raises:
            UserError: they are too long.
        """
        if tokens > self.context_length:
            raise UserError(
                f"a prompt and its answer take {tokens} tokens, {self.label} reads {self.context_length}: "
                "lower the prompt's max_tokens or the answer's length, or choose a backbone with a longer context"
            )

    def _body(self, embeds: Tensor, mask: Tensor, **more: Any) -> Any:
        mask = mask.long()
        if self._takes_positions:
            more["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)[:, -embeds.shape[1] :]  # (B, T)
        return self.model.base_model(inputs_embeds=embeds, attention_mask=mask, **more)

    @staticmethod
    def last(hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the state of each prompt's last real token, (B, H), from (B, T, H) and its mask (B, T)."""
        places = torch.arange(mask.shape[1], device=mask.device) * mask.long()  # (B, T)
        index = places.argmax(1)  # (B,)
        return hidden[torch.arange(len(hidden), device=hidden.device), index]

    def logits_at(self, hidden: Tensor, token_ids: Tensor | list[int]) -> Tensor:
        """Return the logits of a few tokens, (n, K) in float32, from states (n, H): K rows of the head, not V."""
        return self._head(hidden, token_ids)

    def all_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of all tokens, (n, V) in float32, from states (n, H), for few positions only."""
        return self._head.all(hidden)

    def train(self, mode: bool = True) -> "Backbone":
        """Keep the model in evaluation mode; only gradient checkpointing, if on, follows `mode`."""
        super().train(False)
        for block in self._checkpointed:
            block.training = mode  # the block's own flag: its parts, with their dropout, stay in evaluation mode
        return self


def _checkpointed_blocks(model: Any) -> list[nn.Module]:
    """Turn gradient checkpointing on and return the modules whose `training` flag controls it."""
    # Frozen weights need non-reentrant checkpointing: the input embeddings need no gradient.
    how = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # the name from transformers 5.2x on
        model.activation_checkpointing_enable(how)
    else:
        model.gradient_checkpointing_enable(how)
    return [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]


def _chat_wrap(tokenizer: Any, label: str) -> Callable[[str], str]:
    if not tokenizer.chat_template:
        raise UserError(f"llm.chat_template=true: {label} has no chat template: set it to false")
    marker = "<<PROMPT>>"
    message = [{"role": "user", "content": marker}]
    whole = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    before, found, after = whole.partition(marker)
    if not found:
        raise UserError(f"llm.chat_template=true: the chat template of {label} changes the prompt: set it to false")
    return lambda prompt: before + prompt + after
