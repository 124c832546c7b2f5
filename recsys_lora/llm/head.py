"""The language model's head, for a few tokens or a few positions, never for all of both."""

from typing import Any

import torch
from torch import Tensor, nn

from recsys_lora.utils.errors import UserError


class Head:
    """The head of a causal language model.

    How some families transform the logits is read from their config: a factor (Cohere's `logit_scale`), a divisor
    (Granite's `logits_scaling`), a soft cap (Gemma's `final_logit_softcapping`). `probe.py` checks the result
    against the whole head, so a family with any other transformation is rejected.

    Args:
        model: a causal language model of `transformers`.

    Raises:
        UserError: the model has no head, or one whose rows cannot be selected.
    """

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        weight = getattr(head, "weight", None)
        if not isinstance(head, nn.Module) or not isinstance(weight, Tensor) or not weight.is_floating_point():
            raise UserError(f"{type(model).__name__} has no head of plain weights: choose a causal language model")
        config = model.config.get_text_config()
        self._head = [head]  # in a list, as this must not own the model's head
        self._ids: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}
        self.factor = float(getattr(config, "logit_scale", None) or 1) / float(
            getattr(config, "logits_scaling", None) or 1
        )
        self.soft_cap: float | None = getattr(config, "final_logit_softcapping", None)

    def __call__(self, hidden: Tensor, token_ids: Tensor | list[int]) -> Tensor:
        """Return float32 logits (n, K) of K tokens from hidden states (n, H)."""
        head: Any = self._head[0]
        ids = token_ids if isinstance(token_ids, Tensor) else self._kept(token_ids, head.weight.device)
        logits = hidden.float() @ head.weight[ids].float().T  # (n, K)
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias[ids].float()
        return self._adjusted(logits)

    def _kept(self, token_ids: list[int], device: torch.device) -> Tensor:
        """Return token ids on the head's device; each list is copied there once."""
        key = tuple(token_ids), device
        if key not in self._ids:
            with torch.inference_mode(False):
                self._ids[key] = torch.tensor(token_ids, device=device)
        return self._ids[key]

    def all(self, hidden: Tensor) -> Tensor:
        """Return float32 logits (n, V) of all tokens from hidden states (n, H).

        The product is computed in the head's own dtype, as in `transformers`: a float32 copy of a whole head is large.
        """
        head: Any = self._head[0]
        logits = torch.nn.functional.linear(hidden.to(head.weight.dtype), head.weight, getattr(head, "bias", None))
        return self._adjusted(logits.float())

    def _adjusted(self, logits: Tensor) -> Tensor:
        logits = logits * self.factor
        return logits if self.soft_cap is None else self.soft_cap * torch.tanh(logits / self.soft_cap)
