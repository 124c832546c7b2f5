"""Prompt4NR: a few learned vectors next to the titles, the same for all rows; LoRA is trained with them.

Three precede the user's history and three the candidate's title. The original is a news recommender that fills in a
mask; this is the form in which CoLLM's authors run it on a causal language model, with the answer at the end.
Source: Prompt4NR, SIGIR 2023, arXiv 2304.05263; CoLLM, arXiv 2310.19488.
"""

from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from recsys_lora.data.batch import PromptBatch
from recsys_lora.methods.lora import LoRATuned, Tuned
from recsys_lora.methods.shared import Vectors
from recsys_lora.methods.soft_tokens import token_std
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.task import ITEM, USER

_NAMES = ("u1", "u2", "u3", "i1", "i2", "i3")


class Prompt4NR(LoRATuned):
    """Learned prompt vectors and LoRA on one backbone.

    Args:
        tuned: arguments of all recommenders with LoRA.

    Raises:
        UserError: the prompt has no soft tokens or unknown ones.
    """

    versions = ("collaborative",)
    soft_names: ClassVar[tuple[str, ...]] = _NAMES

    def __init__(self, **tuned: Unpack[Tuned]) -> None:
        super().__init__(**tuned)
        std = token_std(self.backbone)
        self.vectors = nn.Parameter(torch.randn(len(_NAMES), self.backbone.hidden_size) * std)  # (6, H)

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor:
        """Return the learned vectors (B, S, H), the same for every row, in the order of the prompt."""
        return self.arranged(self.vectors.expand(len(batch), -1, -1), batch)

    def worded(self, template: Template) -> Template:
        """Return a task's template with three vectors for the user, and three for each candidate."""
        return template.remarked({USER: "<u1><u2><u3>", ITEM: "<i1><i2><i3>"}, soft_tokens=_NAMES)
