"""Losses and scores of a method's answers: one loss per row, in batches that may mix tasks.

A yes-or-no question has one score s (`_binary_score`), and its loss is the binary cross-entropy of s; other choices
have the cross-entropy over their own tokens, and texts the mean negative log-likelihood of their tokens.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.data.batch import PromptBatch
from recsys_lora.llm.answer import ResolvedChoices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.likelihood import answer_log_probs
from recsys_lora.methods.offset import LogitOffset

Score = Literal["yes", "yes_minus_no"]
_UNANSWERED = "a loss needs every row's answer: a right choice of a task with choices, or answer tokens"


def _binary_score(logits: Tensor, score: Score) -> Tensor:
    """Return scores (B,) from the logits (B, 2) of Yes and No: the logit of Yes, or that minus the logit of No."""
    return logits[:, 0] if score == "yes" else logits[:, 0] - logits[:, 1]


class Answers(nn.Module):
    """Reads the answers to several tasks from the backbone's hidden states.

    Args:
        backbone: computes the answers' logits.
        choices: the answer tokens of each task, by task number; None for tasks with text answers.
        is_binary: which tasks have the choices Yes and No, in this order.
        score: how these two become one score; see `_binary_score`.
        offset: added to that score; None adds nothing. It belongs to the method.
    """

    allowed: Tensor
    has_choices: Tensor
    is_binary: Tensor
    column: Tensor

    def __init__(
        self,
        backbone: Backbone,
        choices: Sequence[ResolvedChoices | None],
        is_binary: Sequence[bool],
        score: Score = "yes_minus_no",
        offset: LogitOffset | None = None,
    ) -> None:
        super().__init__()
        # tuples, so that they are not registered here
        self._backbone = (backbone,)
        self._offset = (offset,)
        self.choices = list(choices)
        self.score = score
        own = [list(choice.token_ids) if choice else [] for choice in choices]
        self.token_ids = list(dict.fromkeys(token for tokens in own for token in tokens))  # (K,), of all tasks
        column = {token: index for index, token in enumerate(self.token_ids)}
        # One row per task: which of the K tokens are its answers, and the column of each answer among them. A task
        # without choices allows all tokens: the loss of its rows is replaced.
        allowed = torch.tensor([[not tokens or token in tokens for token in self.token_ids] for tokens in own])
        columns = torch.zeros(len(own), max([2, *map(len, own)]), dtype=torch.long)
        for row, tokens in zip(columns, own, strict=True):
            row[: len(tokens)] = torch.tensor([column[token] for token in tokens], dtype=torch.long)
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("column", columns, persistent=False)
        self.register_buffer("has_choices", torch.tensor([bool(tokens) for tokens in own]), persistent=False)
        self.register_buffer("is_binary", torch.tensor(list(is_binary)), persistent=False)
        self.binary = list(is_binary)  # the same on the host, without a device sync
        self.any_binary = any(is_binary)
        self.all_binary = all(is_binary)

    @property
    def backbone(self) -> Backbone:
        """The backbone that computes the answers' logits."""
        return self._backbone[0]

    def loss(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        """Return each row's loss (B,), float32, from the last hidden states (B, T, H).

        A text answer's loss is the mean negative log-likelihood of its tokens, so answers of all lengths count alike.

        Raises:
            RuntimeError: a row has neither a right choice nor a text answer; on a GPU, raised asynchronously.
        """
        if self.all_binary:
            return self._of_choices(batch, hidden)
        answered = (batch.answer_tokens > 0) | ((batch.target >= 0) & self.has_choices[batch.task])
        torch._assert_async(answered.all(), _UNANSWERED)
        loss = self._of_choices(batch, hidden) if self.token_ids else hidden.new_zeros(len(batch), dtype=torch.float32)
        places, answer_tokens = batch.answer_places, batch.answer_tokens
        if places is not None and not places.shape[1]:
            return loss
        total, count = answer_log_probs(
            self.backbone, hidden, batch.input_ids, batch.attention_mask, answer_tokens, places
        )
        return torch.where(answer_tokens > 0, -total / count.clamp_min(1), loss)

    def _of_choices(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        logits = self._logits(self.backbone.last(hidden, batch.attention_mask))  # (B, K)
        if not self.any_binary:
            return self._of_several(logits, batch)
        score = self._score(batch, self._pair(logits, batch.task))
        binary = functional.binary_cross_entropy_with_logits(score, batch.label, reduction="none")
        if self.all_binary:
            return binary
        return torch.where(self.is_binary[batch.task], binary, self._of_several(logits, batch))

    def _of_several(self, logits: Tensor, batch: PromptBatch) -> Tensor:
        logits = logits.masked_fill(~self.allowed[batch.task], -torch.inf)
        right = self.column[batch.task, batch.target.clamp(0, self.column.shape[1] - 1)]  # (B,)
        return functional.cross_entropy(logits, right, reduction="none")

    def read(self, batch: PromptBatch, last: Tensor) -> Tensor:
        """Return the answers to one task: scores (B,) if it is a yes-or-no task, else logits.

        Args:
            batch: the rows, all of one task.
            last: the states (B, H) after their prompts.

        Returns:
            Scores (B,), or the logits (B, K) of the task's choices; float32.

        Raises:
            ValueError: the rows are of several tasks, or of one whose answer is text.
        """
        tasks = sorted(set(batch.task.tolist())) if len(self.choices) > 1 else [0]  # with one task, no device sync
        choices = self.choices[tasks[0]] if len(tasks) == 1 else None
        if choices is None:
            raise ValueError(f"choices are read for one task that has some, not for the tasks {tasks}")
        logits = self.backbone.logits_at(last, choices.token_ids)  # (B, K)
        return self._score(batch, logits) if self.binary[tasks[0]] else logits

    def scores(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        """Return the scores (B,) of a batch's yes-or-no questions; arbitrary values for other rows."""
        return self._added(batch, self.own_scores(batch, hidden))

    def own_scores(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        """Return the same scores without the CF model's logit."""
        logits = self._logits(self.backbone.last(hidden, batch.attention_mask))
        return _binary_score(self._pair(logits, batch.task), self.score)

    def _score(self, batch: PromptBatch, pair: Tensor) -> Tensor:
        """Return scores (B,) from the logits (B, 2) of Yes and No, with the offset added."""
        return self._added(batch, _binary_score(pair, self.score))

    def _added(self, batch: PromptBatch, score: Tensor) -> Tensor:
        offset = self._offset[0]
        return score if offset is None else offset(batch, score)

    def _logits(self, last: Tensor) -> Tensor:
        return self.backbone.logits_at(last, self.token_ids)  # (B, K)

    def _pair(self, logits: Tensor, task: Tensor) -> Tensor:
        """Return the logits (B, 2) of each row's first two choices."""
        return logits if len(self.choices) == 1 else logits.gather(1, self.column[task, :2])
