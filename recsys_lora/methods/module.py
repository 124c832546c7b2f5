"""How Lightning trains and validates a recommender: losses, metrics, optimiser, checkpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from recsys_lora.callbacks.ema import AVERAGE
from recsys_lora.callbacks.lightning_internals import logs_now
from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.training import TrainBatch
from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.answers import Answers
from recsys_lora.methods.checkpoint import IDENTITY, RESUMED, trained_state, verify
from recsys_lora.methods.masking import Masking
from recsys_lora.methods.offset import RATE, LogitOffset
from recsys_lora.methods.optimizer import OptimizerPart, OptimizerSettings, may_be_fused, planned_steps
from recsys_lora.methods.pairwise import Pairwise
from recsys_lora.methods.validation import Validation
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.task import Task, Version
from recsys_lora.utils.errors import UserError

CENTRED = 64
"""Number of training questions over which a method's scores are centred before the first step."""


class RecommenderModule(lightning.LightningModule):
    """The Lightning steps of a recommender with a frozen backbone; `LLMRecommender` implements what they compute."""

    versions: ClassVar[tuple[Version, ...]]
    name: str
    tasks: Mapping[str, Task]
    backbone: Backbone
    answers: Answers
    masking: Masking
    pairwise: Pairwise
    offset: LogitOffset | None
    tuned_encoder: CollaborativeEncoder | None
    encoder_lr_factor: float
    optimizer_settings: OptimizerSettings | None
    validation: Validation
    identity: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.strict_loading = False  # checkpoints contain only trained state; `verify` checks them

    def hidden(self, batch: PromptBatch) -> Tensor:
        """Return the last hidden states (B, T, H) of a batch."""
        raise NotImplementedError

    def calibrate(self, data: PreparedData, train: UserItems) -> None:
        """Measure on the users and items of the training questions what the method needs before its first step."""

    @property
    def questions(self) -> TaskData:
        """The run's questions, while a trainer has them.

        Raises:
            UserError: the trainer was given only loaders.
        """
        questions: TaskData | None = self.trainer.datamodule  # type: ignore[attr-defined]
        if questions is None:
            raise UserError(f"{self.name}: the trainer has loaders alone: use trainer.fit(module, datamodule=...)")
        return questions

    @property
    def logs_now(self) -> bool:
        """Whether loggers get the values of the current step; values for them alone are only computed then."""
        return logs_now(self.trainer)

    def setup(self, stage: str) -> None:
        """Calibrate the method on the training questions.

        Raises:
            UserError: the stage is `predict`, whose batches would be ordered by length.
        """
        if stage == "predict":
            raise UserError(
                f"{self.name}: trainer.predict is not supported: use Answering(module, datamodule)(task, questions) of "
                "recsys_lora.methods.answering, whose answers are in the order of the questions"
            )
        if stage == "fit":
            assert self.questions.train_pairs is not None
            self.calibrate(self.questions.data, self.questions.train_pairs)
            if self.offset is not None and self.offset.scale.item():
                self._centre(self.offset)

    @torch.no_grad()
    def _centre(self, offset: LogitOffset) -> None:
        """Centre the offset: over some training questions, if any, the language model's scores add zero on average."""
        questions = self.questions
        assert questions.train is not None
        prompts = questions.train.versions[self.versions[0]]
        asked = np.flatnonzero([task.is_binary for task in self.tasks.values()])
        members = np.flatnonzero(np.isin(prompts.task, asked))
        if not len(members):
            return
        index = members[np.linspace(0, len(members) - 1, min(CENTRED, len(members))).astype(int)]
        batching, training = questions.batching, self.training
        self.eval()
        batch = prompts.batch(index, batching.pad_id, batching.padding).to(self.device)
        offset.centre(self.answers.own_scores(batch, self.hidden(batch)))
        self.train(training)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell a backbone that records CUDA graphs where a step begins; accumulated gradients are of one step."""
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.backbone.begin_step()

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Return this process's share of the mean loss over the whole batch, summed over versions."""
        total = torch.stack([self.version_loss(name, batch) for name in batch.versions]).sum()
        # Gradients are averaged over processes: with this scale, shares of unequal size give the mean over all rows.
        loss = total * (self.trainer.world_size / batch.global_rows)
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        return loss

    def version_loss(self, version: str, batch: TrainBatch) -> Tensor:
        """Return the sum of one version's losses, and log each task's mean if there are several tasks or versions.

        It includes the pairwise loss: its mean over pairs, times its weight and the number of rows.
        """
        seed, epoch = self.questions.seed, self.current_epoch
        groups, losses, scores = batch.versions[version], [], []
        for group in groups:
            masked = self.masking(group, seed, epoch)
            hidden = self.hidden(masked)
            losses.append(self.answers.loss(masked, hidden))
            if self.pairwise:
                scores.append(self.answers.scores(masked, hidden))
        rows, task = torch.cat(losses), torch.cat([group.task for group in groups])  # (B,)
        if self.logs_now and (len(self.tasks) > 1 or len(self.versions) > 1):
            for number, name in enumerate(self.tasks):
                if len(own := rows.detach()[task == number]):
                    self.log(f"train/loss_{name}_{version}", own.mean(), batch_size=len(rows))
        return rows.sum() + self._pairwise_loss(version, batch, torch.cat(scores)) if scores else rows.sum()

    def _pairwise_loss(self, version: str, batch: TrainBatch, score: Tensor) -> Tensor:
        """Return this process's share of the weighted pairwise loss, times the batch's number of rows."""
        groups = batch.versions[version]
        user, label, task = (torch.cat([getattr(part, name) for part in groups]) for name in ("user", "label", "task"))
        total = self.pairwise(score, user, label > 0, self.answers.is_binary[task])
        mean = total / max(1, batch.global_pairs)
        if self.logs_now:
            name = "train/pairwise" if len(self.versions) == 1 else f"train/pairwise_{version}"
            self.log(name, mean.detach() * self.trainer.world_size, batch_size=len(score))
        return self.pairwise.weight * batch.global_rows * mean

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Collect losses and scores."""
        self.validation.update(batch, self.hidden(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the collected metrics.

        Raises:
            UserError: the loss is not finite.
        """
        self._log_collected("valid")

    def test_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Collect losses and scores, as validation does."""
        self.validation.update(batch, self.hidden(batch))

    def on_test_epoch_end(self) -> None:
        """Log the collected metrics.

        Raises:
            UserError: the loss is not finite.
        """
        self._log_collected("test")

    def _log_collected(self, split: str) -> None:
        for name, value in self.validation.results():
            if name == "loss" and not bool(torch.isfinite(value)):
                raise UserError(
                    f"{split}/loss is {float(value)} at step {self.trainer.global_step}: the weights have blown up: "
                    "lower the learning rate (model.optimizer.lr) or raise the precision (llm.dtype=float32)"
                )
            self.log(f"{split}/{name}", value, prog_bar=name in ("loss", "auc", "uauc"), rank_zero_only=False)

    @property
    def rates(self) -> dict[nn.Parameter, float]:
        """The learning rates of some parameters, relative to that of the others."""
        offset = {} if self.offset is None else dict.fromkeys(self.offset.parameters(), RATE)
        tuned = () if self.tuned_encoder is None else self.tuned_encoder.parameters()
        return offset | dict.fromkeys(tuned, self.encoder_lr_factor)

    def optimizer_parts(self, steps: float) -> Sequence[OptimizerPart]:
        """Return the trained parameters, for a budget of `steps` steps."""
        return [(self.parameters(), lambda step: 1.0)]

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule, which ends with the trainer's budget.

        Raises:
            UserError: the method has nothing to train.
        """
        settings = self.optimizer_settings
        if settings is None:
            raise UserError(f"{self.name}: nothing to train: use trainer.test(module, datamodule=...)")
        steps = planned_steps(self.trainer, len(self.questions.train_dataloader()))
        fused = may_be_fused(self.trainer)
        return settings.optimizer_and_schedule(self.optimizer_parts(steps), steps, fused, self.rates)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the trained state, and add the identity.

        If weights are averaged, the averages are kept, next to the weights that training resumes from.
        """
        state, average = trained_state(self), checkpoint.pop(AVERAGE, {})
        checkpoint["state_dict"] = state | average
        if average:
            checkpoint[RESUMED] = {name: state[name] for name in average}
        checkpoint[IDENTITY] = self.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reject a checkpoint with another identity; of averaged weights, load those that training resumes from."""
        verify(checkpoint, self.identity, self)
        checkpoint["state_dict"] = checkpoint["state_dict"] | checkpoint.get(RESUMED, {})
