"""CKF: several recommendation tasks in one language model that feels collaborative vectors as soft tokens.

    e_u, e_v    = frozen collaborative encoder(user, history, item)
    soft tokens = mapping(e_u, e_v, history)                           `mapping.py`
    y           = W0 x + the tasks' shared update + the own task's     `multi_lora.py`
    loss        = cross-entropy of the answer, of every question as text alone and with soft tokens; which of the two
                  trains what, and when, says the curriculum           `objective.py`

Source: CKF, TKDE 2025, arXiv 2410.20642.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.pairs import PairBatch
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.llm.answer import ResolvedChoices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.soft_tokens import token_spread
from recsys_lora.lowrank.source import DropoutPer
from recsys_lora.methods.base import LLMModule, Vectors
from recsys_lora.methods.ckf.losses import AnswerLoss, TaskMeans
from recsys_lora.methods.ckf.mapping import CollaborativeMapping
from recsys_lora.methods.ckf.multi_lora import Lora, multi_lora
from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.methods.ckf.training import gradient_norm, nothing_of, optimizer_and_schedule
from recsys_lora.methods.optimizer import OptimizerSettings, may_be_fused, planned_steps
from recsys_lora.methods.vectors import InputScale, VectorScale, encode_candidates, last
from recsys_lora.tasks.task import Task
from recsys_lora.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Probability


class CKFMultiTaskModule(LLMModule):
    """CKF on one backbone and one collaborative encoder.

    Args:
        name: what tables call it.
        batch_rows: questions of a training batch, over all processes together.
        forward_cost: in tokens, what a forward costs beside its own: a batch is cut into groups of like lengths where
            that saves more padding; None leaves it whole; `auto` knows the CPU's, and leaves it whole elsewhere.
        temperature: tasks are mixed by n^(1/temperature) of their numbers of questions; None by their own shares alone.
        tasks: the tasks by name; their order is their number in batches.
        optimizer: how both groups of parameters are trained.
        objective: which loss trains what, and when.
        mapping: makes the soft tokens: `CollaborativeMapping` with its own knobs bound.
        history_length: earlier items that the meta-network reads.
        input_scale: `std` divides e_u and e_v by the standard deviation of their entries over the training rows.
        lora: which low-rank updates there are, and where.
        rank: R of each.
        alpha: updates are scaled by alpha / R.
        dropout: share of the adapted maps' input features that an update does not see in training.
        dropout_per: drop an input feature for all of a sample's tokens, or for each token by itself (slower).
        shared_targets: linear maps with the update that all tasks share, by the last part of their names.
        specific_targets: linear maps with an update a task.
        backbone: the language model.
        encoder: the fitted collaborative encoder, frozen.
        choices: the tokens of each task's answers, in the order of `tasks`; None for tasks whose answer is text.
        identity: what the run's checkpoints belong to besides the backbone.
    """

    needs_encoder: ClassVar[bool] = True
    multi_task: ClassVar[bool] = True

    def __init__(
        self,
        *,
        name: str,
        batch_rows: PositiveInt,
        forward_cost: NonNegativeFloat | Literal["auto"] | None,
        temperature: PositiveFloat | None,
        tasks: Mapping[str, Task],
        optimizer: OptimizerSettings,
        objective: Objective,
        mapping: Callable[..., CollaborativeMapping],
        history_length: NonNegativeInt,
        input_scale: InputScale,
        lora: Lora,
        rank: PositiveInt,
        alpha: PositiveFloat,
        dropout: Probability,
        dropout_per: DropoutPer,
        shared_targets: Sequence[str],
        specific_targets: Sequence[str],
        backbone: Backbone,
        encoder: nn.Module,
        choices: Sequence[ResolvedChoices | None],
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            name=name,
            batch_rows=batch_rows,
            optimizer=optimizer,
            backbone=backbone,
            encoder=encoder,
            identity={**(identity or {}), "tasks": list(tasks)},
        )
        if len(choices) != len(tasks):
            raise ValueError(f"choices of {len(choices)} tasks were given for {len(tasks)}")
        self.temperature, self.forward_cost = temperature, forward_cost
        self.task_names, self.objective, self.settings = list(tasks), objective, optimizer
        self.history_length = history_length
        self.lowrank = multi_lora(
            backbone.model,
            lora,
            rank=rank,
            alpha=alpha,
            tasks=len(tasks),
            dropout=dropout,
            dropout_per=dropout_per,
            shared_targets=shared_targets,
            specific_targets=specific_targets,
        )
        vectors = cast(CollaborativeEncoder, encoder)
        self.mapping = mapping(vectors.user_dim, vectors.item_dim, backbone.hidden_size, token_spread(backbone))
        self.answers = AnswerLoss(backbone, choices)
        self.valid_loss = TaskMeans(len(tasks))
        self.vector_scale = VectorScale(input_scale)
        self.steps = math.inf

    @property
    def prompt_history(self) -> int:
        """Earlier items that a batch must bring: what the meta-network or the encoder reads, the more of the two."""
        return max(self.history_length, cast(CollaborativeEncoder, self.encoder).history_length)

    # What the language model is given

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Tell the low-rank updates each row's task, and whether this version of the questions may train them."""
        self.route(batch.task, frozen=vectors is not None and self.objective.separate)

    def route(self, task: Tensor, frozen: bool = False) -> None:
        """Set the tasks (B,) of the backbone's next forward."""
        self.lowrank.state.set(task=task, frozen=frozen)

    def collaborative(self, batch: PromptBatch) -> Vectors | None:
        """Return what the frozen encoder knows of a batch, None for prompts of text alone.

        Returns:
            e_u (B, D_u) and e_v (B, C + L, D_i): see `encode_candidates`.
        """
        if not batch.soft_positions.shape[1]:
            return None
        encoder = cast(CollaborativeEncoder, self.encoder)
        return encode_candidates(encoder, batch.user, batch.history, batch.items, self.history_length)

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor | None:
        """Return the user's token and one a candidate (B, S, H)."""
        if vectors is None:
            return None
        user, item = self.vector_scale(*vectors)
        candidates, places = batch.items.shape[1], batch.soft_positions.shape[1]
        if places > 1 + candidates:
            raise ValueError(f"prompts have {places} soft tokens, for a user and {candidates} candidates")
        present = last(batch.history, self.history_length) > 0
        tokens: Tensor = self.mapping(user, item[:, :candidates], item[:, candidates:], present)  # (B, 1 + C, H)
        return tokens[:, :places]

    def release(self) -> None:
        """Give the backbone its own linear maps back."""
        self.lowrank.remove()

    def prepare_for(self, data: PreparedData, train: Rows) -> None:
        """Measure the spread of the collaborative vectors over the training rows."""
        if self.encoder is not None:
            self.vector_scale.measure(self.encoder, data, train)

    # From prompts to losses and scores

    def loss(self, batch: PromptBatch) -> Tensor:
        """Return each row's loss (B,), float32."""
        rows: Tensor = self.answers(batch, self.hidden(batch))
        return rows

    def choice_logits(self, batch: PromptBatch) -> Tensor:
        """Return the logits (B, K) of the answers of the one task that all rows have."""
        return self.answers.logits(batch, self.hidden(batch))

    # Lightning's steps

    @property
    def progress(self) -> float:
        """How much of the budget is used, t / T."""
        return float(self.trainer.global_step / self.steps)

    def setup(self, stage: str) -> None:
        """Measure the encoder's vectors before the first step."""
        if stage == "fit":
            data = self.trainer.datamodule.data  # type: ignore[attr-defined]
            self.prepare_for(data, data.rows("train"))

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Return this process's share of the losses of the halves that train something now."""
        # Processes' gradients are averaged: with this scale, shares of unequal size give the mean over all rows.
        scale = self.trainer.world_size / batch.global_rows
        computed = self.objective.computed(self.progress)
        versions = {"text": batch.text, "collaborative": batch.collaborative}
        halves = [self._half(name, groups) * scale for name, groups in versions.items() if computed[name]]
        loss = torch.stack(halves).sum()
        if self.trainer.world_size > 1:
            loss = loss + nothing_of(self._resting())
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        if self.logs_now:
            self.log("train/lambda", self.objective.weight(self.progress), batch_size=len(batch))
        return loss

    def _half(self, version: str, groups: Sequence[PromptBatch]) -> Tensor:
        """Return the sum of one version's losses, and log each task's mean where loggers read it."""
        rows = torch.cat([self.loss(group) for group in groups])  # (B,)
        if self.logs_now:
            task = torch.cat([group.task for group in groups])  # (B,)
            for number in set(task.tolist()):
                mean = rows.detach()[task == number].mean()
                self.log(f"train/loss_{self.task_names[number]}_{version}", mean, batch_size=len(rows))
        return rows.sum()

    def _resting(self) -> list[nn.Parameter]:
        """Return the parameters that no half of the present step trains."""
        shares = self.objective.shares(self.progress)
        groups = ((self.lowrank, shares.lowrank), (self.mapping, shares.mapping))
        return [parameter for part, share in groups if not share for parameter in part.parameters()]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave resting parameters and their averages alone, and log what moves the others."""
        for parameter in self._resting():
            parameter.grad = None
        if self.logs_now:
            self.log("train/grad_norm_lowrank", gradient_norm(self.lowrank.parameters()))
            self.log("train/grad_norm_mapping", gradient_norm(self.mapping.parameters()))

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Collect losses."""
        self.valid_loss.update(self.loss(batch), batch.task)

    def on_validation_epoch_end(self) -> None:
        """Log each task's mean loss and the mean over tasks, exact over all processes."""
        means, count = self.valid_loss.compute()
        asked = count > 0
        self.valid_loss.reset()
        self.log("valid/loss", means[asked].mean().float(), prog_bar=True, rank_zero_only=False)
        for number in asked.nonzero().flatten().tolist():
            self.log(f"valid/loss_{self.task_names[number]}", means[number].float(), rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        """Return AdamW over the two groups and their schedules, which end with the trainer's budget."""
        batches = len(self.trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        self.steps = planned_steps(self.trainer, batches)
        groups = self.lowrank.parameters(), self.mapping.parameters()
        return optimizer_and_schedule(self.settings, self.objective, *groups, self.steps, may_be_fused(self.trainer))
