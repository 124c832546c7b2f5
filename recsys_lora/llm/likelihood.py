"""The likelihood of answers of several tokens, from the full head at answer positions only.

A token at position p is predicted by the state at position p - 1, so an answer a_1 ... a_n at the end of a prompt has

    log p(a | prompt) = sum_j log softmax(W h_{p_j - 1})[a_j]        p_j the position of a_j

The logits are computed for a few positions at a time, and again in the backward pass: no (B, T, V) tensor exists.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from recsys_lora.llm.backbone import Backbone

ELEMENTS_AT_ONCE = 2**24
"""Number of logits held at once (64 MB)."""


def answer_log_probs(
    backbone: Backbone,
    hidden: Tensor,
    input_ids: Tensor,
    mask: Tensor,
    answer_tokens: Tensor,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of the answer at the end of each prompt.

    Args:
        backbone: the language model.
        hidden: its last hidden states (B, T, H).
        input_ids: the tokens, padded on either side (B, T).
        mask: (B, T), true or 1 at real tokens.
        answer_tokens: how many of each prompt's last real tokens are its answer (B,); 0 for none.
        places: row and column (2, n) of every answer token; None to find them, which makes the host wait for a device.

    Returns:
        The sum over the answer's tokens (B,), float32, in nats, 0 if there are none, through which gradients reach
        `hidden`; and the number of tokens (B,).

    Raises:
        ValueError: an answer has no token before it.
    """
    row, column = _found(mask, answer_tokens) if places is None else places  # (n,)
    each = _token_log_probs(backbone, hidden[row, column - 1], input_ids[row, column])  # (n,)
    return each.new_zeros(len(hidden)).index_add(0, row, each), answer_tokens


def _found(mask: Tensor, answer_tokens: Tensor) -> tuple[Tensor, ...]:
    """Return row and column, each (n,), of the answers' tokens."""
    place = mask.long().cumsum(1)  # (B, T): 1 at the first real token
    length = place[:, -1]
    if bool((answer_tokens >= length.clamp_min(1)).any()):
        raise ValueError("an answer needs at least one token of a prompt before it")
    answer = mask.bool() & (place > (length - answer_tokens)[:, None])  # (B, T)
    return answer.nonzero(as_tuple=True)


def _token_log_probs(backbone: Backbone, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Return log p(token) (n,), float32, in nats, under the states (n, H) that predict the tokens (n,)."""
    vocabulary = backbone.model.get_output_embeddings().weight.shape[0]
    at_once = max(1, ELEMENTS_AT_ONCE // vocabulary)

    def part(states: Tensor, ids: Tensor) -> Tensor:
        logits = backbone.all_logits(states)  # (n, V)
        chosen = logits.gather(1, ids[:, None])[:, 0]
        return chosen - logits.logsumexp(1)

    again = torch.is_grad_enabled() and hidden.requires_grad
    parts = [
        checkpoint(part, states, ids, use_reentrant=False) if again else part(states, ids)
        for states, ids in zip(torch.split(hidden, at_once), torch.split(token_ids, at_once), strict=True)
    ]
    return torch.cat(parts)


@torch.no_grad()
def continuation_log_likelihood(
    backbone: Backbone,
    embeds: Tensor,
    continuations: Sequence[Sequence[int]],
    after_prompt: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-likelihood of each of several continuations of one prompt; the prompt is read once.

    Args:
        backbone: the language model, in evaluation mode.
        embeds: the prompt's input embeddings, without padding (1, T, H).
        continuations: the tokens of each of C continuations.
        after_prompt: called with C after the prompt and before the continuations, to condition low-rank layers on C
            copies of the prompt's factors.

    Returns:
        The sum over each continuation's tokens (C,), float32, in nats, and the numbers of tokens (C,), int64.

    Raises:
        ValueError: there is no continuation, one has no token, or `embeds` holds several prompts.
        UserError: the prompt and a continuation are longer than the model can read.
    """
    if len(embeds) != 1 or not continuations or not all(map(len, continuations)):
        raise ValueError("one prompt and at least one continuation are needed, each of at least one token")
    C, T = len(continuations), embeds.shape[1]
    lengths = torch.tensor([len(tokens) for tokens in continuations], device=embeds.device)  # (C,)
    backbone.check_room(T + max(map(len, continuations)))
    columns = torch.arange(int(lengths.max()), device=embeds.device)
    real = columns < lengths[:, None]  # (C, L)
    ids = torch.zeros(real.shape, dtype=torch.long, device=embeds.device)
    ids[real] = torch.tensor([token for tokens in continuations for token in tokens], device=embeds.device)

    read = torch.ones(1, T, dtype=torch.bool, device=embeds.device)
    prompt, cache = backbone.forward_with_cache(embeds, read)
    states = prompt[:, -1:].expand(C, -1, -1)  # (C, 1, H): each first token
    if len(columns) > 1:
        if after_prompt is not None:
            after_prompt(C)
        cache.batch_repeat_interleave(C)
        mask = torch.cat([read.expand(C, -1), real[:, :-1]], 1)  # (C, T + L - 1): no token follows the last
        states = torch.cat(
            [states, backbone.forward_with_cache(backbone.embed(ids[:, :-1]), mask, cache)[0]], 1
        )  # (C, L, H)
    row, column = real.nonzero(as_tuple=True)
    each = _token_log_probs(backbone, states[row, column], ids[row, column])
    return each.new_zeros(C).index_add(0, row, each), lengths
