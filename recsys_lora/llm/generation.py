"""Greedy decoding: each next token is the most likely one.

The loop is written out, because `generate` of `transformers` fills unset options from the model's own generation
config: a repetition penalty or suppressed tokens, which many chat models come with, would change what is measured.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from recsys_lora.llm.backbone import Backbone


@torch.no_grad()
def greedy(
    backbone: Backbone,
    embeds: Tensor,
    mask: Tensor,
    max_new_tokens: int,
    stop: Collection[int],
    after_prompt: Callable[[], None] | None = None,
) -> list[list[int]]:
    """Return the tokens that the model generates after each prompt.

    Low-rank layers must already be conditioned on these B prompts. Rows do not depend on each other (in float32).

    Args:
        backbone: the language model, in evaluation mode.
        embeds: the prompts' input embeddings, padded on the left (B, T, H).
        mask: (B, T), true or 1 at real tokens.
        max_new_tokens: maximum number of tokens.
        stop: tokens that end an answer, such as end-of-text; they are not part of it.
        after_prompt: called once the prompts are read, to condition low-rank layers for the tokens that follow.

    Returns:
        B lists of token ids, without the stop token; empty if it came first.

    Raises:
        ValueError: a prompt is not padded on the left.
        UserError: a prompt and its answer are longer than the model can read.
    """
    mask = mask.bool()
    if not bool(mask[:, -1].all()):
        raise ValueError("prompts must be padded on the left, so that all of them end in the last column")
    backbone.check_room(int(mask.sum(1).max()) + max_new_tokens)
    ends = torch.tensor(sorted(stop), dtype=torch.long, device=embeds.device)
    done = torch.zeros(len(embeds), dtype=torch.bool, device=embeds.device)
    written: list[Tensor] = []
    cache = None
    while len(written) < max_new_tokens:
        hidden, cache = backbone.forward_with_cache(embeds, mask, cache)
        if not written and after_prompt is not None:
            after_prompt()
        token = backbone.all_logits(hidden[:, -1]).argmax(1)  # (B,)
        done = done | torch.isin(token, ends)
        written.append(token.masked_fill(done, -1))
        if bool(done.all()):
            break
        embeds = backbone.embed(token[:, None])  # (B, 1, H)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    columns = torch.stack(written, 1).tolist() if written else [[] for _ in embeds]
    return [[token for token in row if token >= 0] for row in columns]
