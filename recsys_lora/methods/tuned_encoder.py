"""A copy of the fitted collaborative encoder that is trained together with a method.

The fitted encoder stays unchanged: it answers the CF row of tables, retrieves candidates, and gives the logit of
`model.offset=cf`. The copy gives the vectors that the method reads, in training and in evaluation, and is trained only
through them: parameters used only for scoring, such as biases, are frozen.
Source: CoLLM, TKDE 2025, arXiv 2310.19488, section 3.3, which tunes the encoder in its second stage.
"""

from collections.abc import Callable
from typing import Literal

import torch

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.inference import device_of
from recsys_lora.cf.two_fits import TwoFits

EncoderStart = Literal["fitted", "fresh"]


def tuned_copy(
    fitted: CollaborativeEncoder, untrained: Callable[[], CollaborativeEncoder] | None, start: EncoderStart = "fitted"
) -> CollaborativeEncoder:
    """Return an encoder like the fitted one, set up for training.

    Args:
        fitted: the encoder to copy, with one fit.
        untrained: creates an encoder of its kind with fresh weights, on the CPU.
        start: the initial weights: `fitted` or `fresh`.

    Raises:
        ValueError: the encoder has two fits, or `untrained` is None.
    """
    if isinstance(fitted, TwoFits):
        raise ValueError("tune_encoder copies one fit of the encoder, not two")
    if untrained is None:
        raise ValueError("tune_encoder needs untrained_encoder")
    copy = untrained()
    if start == "fitted":
        copy.load_state_dict(fitted.state_dict())
    _train_what_gives_vectors(copy)
    return copy


def _train_what_gives_vectors(encoder: CollaborativeEncoder) -> None:
    """Set up an encoder for training through its vectors; parameters used only for scoring are frozen."""
    encoder.eval().requires_grad_(True)
    row = torch.ones(1, dtype=torch.long, device=device_of(encoder))
    user, item = encoder.encode(row, row.new_ones(1, encoder.history_length), row)
    parameters = list(encoder.parameters())
    reached = torch.autograd.grad(user.sum() + item.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, reached, strict=True):
        parameter.requires_grad_(gradient is not None)
    encoder.train()
