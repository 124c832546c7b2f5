"""Similarity of the candidate's title and those of the history to the frozen language model: text and nothing else.

    v_i = mean over the tokens of title i of the last hidden states, minus the mean of these over all titles
    s   = cosine of v_i and the mean of the history's v_j;  0 without a history

A control: whatever a trained method achieves beyond it is not due to similar titles.
"""

from collections.abc import Sequence
from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from recsys_lora.data.batch import PromptBatch
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.shared import Shared
from recsys_lora.methods.vectors import mean_of_present
from recsys_lora.prompts.titles import prompt_titles
from recsys_lora.tasks.task import Task
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import PositiveInt

_TITLES_AT_ONCE = 64


class TextSimilarity(LLMRecommender):
    """Scores by titles only, without prompts or training.

    Args:
        titles: by item number; [0] is padding.
        history_items: how many of the user's last positives are compared with the candidate.
        title_tokens: maximum number of tokens per title.
        shared: arguments of all recommenders.

    Raises:
        ValueError: one of the tasks cannot be answered with one score.
    """

    trains: ClassVar[bool] = False
    is_personalised: ClassVar[bool] = True  # by the history

    def __init__(
        self,
        *,
        titles: Sequence[str | None],
        history_items: PositiveInt,
        title_tokens: PositiveInt,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        for name, task in self.tasks.items():
            if reason := self.cannot_answer(task):
                raise ValueError(f"{name} cannot be asked of {self.name}: {reason}")
        self._history_items = history_items
        self._titles, _ = prompt_titles(titles, self.backbone.tokenizer, title_tokens, "unknown")
        self._vectors: Tensor | None = None

    @classmethod
    def cannot_answer(cls, task: Task) -> str | None:
        """Return why the method cannot answer a task; None if it can."""
        return None if task.is_binary else "it answers yes-or-no questions alone: set tasks=[ctr]"

    @property
    def history_length(self) -> int:
        """Number of earlier items that a batch must include."""
        return self._history_items

    def forward(self, batch: PromptBatch) -> Tensor:
        """Return the scores (B,) of a batch."""
        vectors = self.vectors
        earlier = mean_of_present(vectors[batch.history], batch.history != 0)  # (B, H)
        return functional.cosine_similarity(earlier, vectors[batch.item], dim=1)

    def grow(self, users: int, items: int) -> None:
        """Make room for more users; items are fixed by the titles given to the constructor.

        Raises:
            UserError: there are more items.
        """
        super().grow(users, items)
        if items:
            raise UserError(
                f"model={self.name}: has a vector a title, of those it was made with: it takes no new items"
            )

    @property
    def vectors(self) -> Tensor:
        """The titles' vectors (N+1, H), float32, zero at the padding; computed once."""
        if self._vectors is None:
            with torch.no_grad():
                parts = [
                    self._states(self._titles[begin : begin + _TITLES_AT_ONCE])
                    for begin in range(1, len(self._titles), _TITLES_AT_ONCE)
                ]
            every = torch.cat(parts)  # (N, H)
            self._vectors = functional.pad(every - every.mean(0), (0, 0, 1, 0))
        return self._vectors

    def _states(self, titles: Sequence[str]) -> Tensor:
        """Return the mean of the last hidden states of each title's tokens, (n, H)."""
        backbone = self.backbone
        tokens = backbone.tokenizer([title or "unknown" for title in titles], add_special_tokens=False)["input_ids"]
        rows = [torch.tensor(ids, device=self.device) for ids in tokens]
        ids = pad_sequence(rows, batch_first=True, padding_value=backbone.pad_id)  # (n, T)
        lengths = torch.tensor([len(row) for row in tokens], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        return mean_of_present(backbone.hidden(backbone.embed(ids), mask, right=True).float(), mask)
