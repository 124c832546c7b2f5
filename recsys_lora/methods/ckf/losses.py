"""Losses of batches that mix tasks, a row at a time, and their means a task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric

from recsys_lora.data.batch import PromptBatch
from recsys_lora.llm.answer import ResolvedChoices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.likelihood import answer_log_probs

UNANSWERED = "a loss needs every row's answer: a right choice of a task with choices, or answer tokens"


class AnswerLoss(nn.Module):
    """The cross-entropy of the right answer: among the task's choices, or over all tokens of a text.

    Args:
        backbone: reads the answers' logits.
        choices: the tokens of each task's answers, by number; None for tasks whose answer is text.
    """

    allowed: Tensor
    has_choices: Tensor
    place: Tensor

    def __init__(self, backbone: Backbone, choices: Sequence[ResolvedChoices | None]) -> None:
        super().__init__()
        self._backbone = (backbone,)  # a tuple, as this must not own the backbone
        self.choices = list(choices)
        own = [list(choice.token_ids) if choice else [] for choice in choices]
        self.token_ids = list(dict.fromkeys(token for tokens in own for token in tokens))  # (K,), of all tasks
        place = {token: index for index, token in enumerate(self.token_ids)}
        # One row a task: which of the K tokens are its answers, and where each of its answers stands among them. A
        # task without any may take all of them: its rows' loss is replaced.
        allowed = torch.tensor([[not tokens or token in tokens for token in self.token_ids] for tokens in own])
        where = torch.zeros(len(own), max(map(len, own), default=0) or 1, dtype=torch.long)
        for row, tokens in zip(where, own, strict=True):
            row[: len(tokens)] = torch.tensor([place[token] for token in tokens], dtype=torch.long)
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("place", where, persistent=False)
        self.register_buffer("has_choices", torch.tensor([bool(tokens) for tokens in own]), persistent=False)

    @property
    def backbone(self) -> Backbone:
        """What reads the answers' logits."""
        return self._backbone[0]

    def forward(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        """Return each row's loss (B,), float32, from the last hidden states (B, T, H).

        A text answer's is its tokens' mean negative log-likelihood, so that rows of all lengths count alike.

        Raises:
            RuntimeError: a row has neither a right choice nor a text answer; of a device, it comes late.
        """
        answered = (batch.answer_tokens > 0) | ((batch.target >= 0) & self.has_choices[batch.task])
        torch._assert_async(answered.all(), UNANSWERED)
        loss = self._of_choices(batch, hidden) if self.token_ids else hidden.new_zeros(len(batch), dtype=torch.float32)
        places, answer_tokens = batch.answer_places, batch.answer_tokens
        if places is not None and not places.shape[1]:
            return loss
        total, count = answer_log_probs(
            self.backbone, hidden, batch.input_ids, batch.attention_mask, answer_tokens, places
        )
        return torch.where(answer_tokens > 0, -total / count.clamp_min(1), loss)

    def _of_choices(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        last = self.backbone.last(hidden, batch.attention_mask)  # (B, H)
        logits = self.backbone.logits_at(last, self.token_ids)  # (B, K)
        task = batch.task
        logits = logits.masked_fill(~self.allowed[task], -torch.inf)
        choices = self.place.shape[1]
        right = self.place[task, batch.target.clamp(0, choices - 1)]  # (B,)
        return functional.cross_entropy(logits, right, reduction="none")

    def logits(self, batch: PromptBatch, hidden: Tensor) -> Tensor:
        """Return the logits (B, K) of the answers of the one task that all rows have.

        Raises:
            ValueError: the rows are of several tasks, or of one whose answer is text.
        """
        tasks = sorted(set(batch.task.tolist()))
        choices = self.choices[tasks[0]] if len(tasks) == 1 else None
        if choices is None:
            raise ValueError(f"choices are read for one task that has some, not for the tasks {tasks}")
        return self.backbone.logits_at(self.backbone.last(hidden, batch.attention_mask), choices.token_ids)


class TaskMeans(Metric):
    """The mean of a value over each task's rows, on all processes together.

    Args:
        tasks: number of tasks.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(tasks, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(tasks, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, values: Tensor, task: Tensor) -> None:
        """Add the values (B,) of rows and their tasks (B,)."""
        self.total = self.total.index_add(0, task, values.double())
        self.count = self.count.index_add(0, task, torch.ones_like(values, dtype=torch.float64))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return each task's mean (tasks,), NaN where it has no rows, and its number of rows (tasks,)."""
        return self.total / self.count, self.count
