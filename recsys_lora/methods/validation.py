"""Validation metrics of a method: each task's mean loss, and AUC and UAUC of yes-or-no questions."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from recsys_lora.data.batch import PromptBatch
from recsys_lora.evaluation.torch_metrics import AUC, UAUC
from recsys_lora.methods.answers import Answers


class TaskMeans(Metric):
    """The mean of a value over each task's rows, across all processes.

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
        """Add rows: values (B,) and tasks (B,)."""
        self.total = self.total.index_add(0, task, values.double())
        self.count = self.count.index_add(0, task, torch.ones_like(values, dtype=torch.float64))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return each task's mean (tasks,), NaN where it has no rows, and its number of rows (tasks,)."""
        return self.total / self.count, self.count


class Validation(nn.Module):
    """Collects the metrics of validation batches, exactly over all processes.

    Args:
        answers: reads the answers.
        names: names of the tasks, by number.
    """

    def __init__(self, answers: Answers, names: Sequence[str]) -> None:
        super().__init__()
        self.answers = answers
        self.names = list(names)
        self.loss = TaskMeans(len(names))
        self.auc = AUC()
        self.uauc = UAUC()

    def update(self, batch: PromptBatch, hidden: Tensor) -> None:
        """Add a batch, from its last hidden states (B, T, H)."""
        self.loss.update(self.answers.loss(batch, hidden), batch.task)
        if self.answers.any_binary:
            score, user, label = self.answers.scores(batch, hidden), batch.user, batch.label
            if not self.answers.all_binary:  # choosing rows makes the host wait for the device
                asked = self.answers.is_binary[batch.task]  # (B,)
                score, user, label = score[asked], user[asked], label[asked]
            self.auc.update(score, label)
            self.uauc.update(user, score, label)

    def results(self) -> Iterator[tuple[str, Tensor]]:
        """Yield names and values, and reset: `loss` is the mean over tasks, `loss_NAME` a task's own."""
        means, count = (part.reshape(-1) for part in self.loss.compute())  # torchmetrics squeezes one task's result
        asked = (count > 0).nonzero().flatten().tolist()
        yield "loss", means[asked].mean().float()
        if len(self.names) > 1:
            yield from ((f"loss_{self.names[number]}", means[number].float()) for number in asked)
        if any(self.answers.binary[number] for number in asked):
            yield from (("auc", self.auc.compute().float()), ("uauc", self.uauc.compute().float()))
        for metric in (self.loss, self.auc, self.uauc):
            metric.reset()
