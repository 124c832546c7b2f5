"""What all language-model recommenders share: prompts -> soft tokens and weights -> answer logits -> loss -> AdamW.

A method says only what differs: `condition` (which low-rank weights the batch gets), `soft_tokens` (which vectors fill
the placeholders of its prompt), `more_texts` (which further slots its prompt has) and what it measures before training
(`prepare_for`).
"""

import itertools
import logging
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, cast

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import Padding, PromptBatch
from recsys_lora.data.examples import PromptBuilder
from recsys_lora.data.module import PromptData
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.llm.answer import ChoiceAnswer, ResolvedChoices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.soft_tokens import place_soft_tokens
from recsys_lora.methods.checkpoint import IDENTITY, trained_state, verify
from recsys_lora.methods.optimizer import OptimizerSettings, planned_steps
from recsys_lora.metrics.torch_metrics import AUC, UAUC
from recsys_lora.prompts.encode import Encoder
from recsys_lora.prompts.template import Template

log = logging.getLogger(__name__)

Score = Literal["yes", "yes_minus_no"]
ANSWERS = ("Yes", "No")


class LLMRecommender(lightning.LightningModule):
    """A recommender whose score is the logit of an answer token.

    Args:
        name: what tables call it.
        prompt: the wording.
        batch_rows: rows of a training batch, over all processes together.
        score: the logit of "Yes", or that minus the logit of "No".
        optimizer: how it is trained; None for what is not.
        backbone: the language model.
        encoder: the fitted collaborative encoder, frozen; None for what needs none.
        identity: what the run's checkpoints belong to besides the backbone: `data` and `encoder` keys.
    """

    needs_backbone: ClassVar[bool] = True
    needs_encoder: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    padding: ClassVar[Padding] = "right"

    def __init__(
        self,
        *,
        name: str,
        prompt: Template,
        batch_rows: int,
        score: Score,
        optimizer: OptimizerSettings | None,
        backbone: Backbone,
        encoder: nn.Module | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # checkpoints hold what was trained; `verify` sees to the rest
        self.name, self.prompt, self.batch_rows, self.score = name, prompt, batch_rows, score
        self.optimizer_settings = optimizer
        self.backbone, self.encoder = backbone, encoder
        backbone.requires_grad_(False)
        if encoder is not None:
            encoder.requires_grad_(False)
        self.identity = {"method": name, "backbone": _without_dtype(backbone.identity), **(identity or {})}
        ending = backbone.wrap(prompt.ending) if backbone.wrap else prompt.ending
        self.choices: ResolvedChoices = ChoiceAnswer(ANSWERS).resolve(backbone.tokenizer, ending)
        log.info("answers are read as the tokens %s", " and ".join(map(repr, self.choices.pieces)))
        self.valid_auc, self.valid_uauc, self.valid_log_loss = AUC(), UAUC(), MeanMetric()

    # What a method overrides

    def condition(self, batch: PromptBatch, vectors: tuple[Tensor, Tensor] | None) -> None:
        """Give the low-rank layers what they need for this batch; `vectors` are (e_u, e_i), each (B, D)."""

    def soft_tokens(self, batch: PromptBatch, vectors: tuple[Tensor, Tensor] | None) -> Tensor | None:
        """Return the vectors (B, S, H) of the prompt's soft tokens, None for a prompt of text alone."""
        return None

    def more_texts(self, rows: Rows) -> Iterable[Mapping[str, str]]:
        """Return further slots of each row's prompt."""
        return itertools.repeat({}, len(rows))

    def prepare_for(self, data: PreparedData, train: Rows) -> None:
        """Measure on the training rows what the method must know before its first step."""

    def release(self) -> None:
        """Take whatever the method put into the backbone out of it again; the method cannot score any more."""

    # From rows to prompts

    def prompts(self, data: PreparedData, words: Mapping[str, str]) -> PromptBuilder:
        """Return what makes this method's prompts.

        Args:
            data: the data set.
            words: its words, `data.wording`.

        Raises:
            UserError: the data set has no titles, or the template has a slot that nothing fills.
        """
        encoder = Encoder(
            tokenizer=self.backbone.tokenizer,
            words=words,
            max_tokens=self.backbone.context_length,
            suffix=self.choices.common_ids,
            wrap=self.backbone.wrap,
            soft_id=self.backbone.pad_id,
        )
        length = 0 if self.encoder is None else cast(CollaborativeEncoder, self.encoder).history_length
        return PromptBuilder(data, self.prompt, encoder, length, self.more_texts)

    def datamodule(self, data: PreparedData, words: Mapping[str, str], **settings: Any) -> PromptData:
        """Return the run's rows as prompts; `settings` are `PromptData`'s."""
        return PromptData(
            data,
            self.prompts(data, words),
            batch_rows=self.batch_rows,
            pad_id=self.backbone.pad_id,
            padding=self.padding,
            **settings,
        )

    # From prompts to scores

    def forward(self, batch: PromptBatch) -> Tensor:
        """Score a batch; returns (B,) float32."""
        vectors = self.collaborative(batch)
        self.condition(batch, vectors)
        embeds = self.backbone.embed(batch.input_ids)  # (B, T, H)
        soft = self.soft_tokens(batch, vectors)
        if soft is not None:
            embeds = place_soft_tokens(embeds, batch.soft_positions, soft)
        hidden = self.backbone.hidden(embeds, batch.attention_mask)  # (B, T, H)
        logits = self.backbone.logits_at(
            self.backbone.last(hidden, batch.attention_mask), self.choices.token_ids
        )  # (B, 2)
        return logits[:, 0] if self.score == "yes" else logits[:, 0] - logits[:, 1]

    def collaborative(self, batch: PromptBatch) -> tuple[Tensor, Tensor] | None:
        """Return (e_u (B, D_u), e_i (B, D_i)) of the batch's rows from the frozen encoder."""
        if self.encoder is None:
            return None
        with torch.no_grad():
            encoder = cast(CollaborativeEncoder, self.encoder)
            user, item = encoder.encode(batch.user, batch.history, batch.item)
        return user.float(), item.float()

    # Lightning's steps

    def setup(self, stage: str) -> None:
        """Let the method measure what it must know of the training rows."""
        if stage == "fit":
            datamodule = self._datamodule()
            self.prepare_for(datamodule.data, datamodule.sample("train", datamodule.train_rows))

    def _datamodule(self) -> PromptData:
        return cast(PromptData, self.trainer.datamodule)  # type: ignore[attr-defined]

    def training_step(self, batch: PromptBatch, batch_idx: int) -> Tensor:
        """Return this process's share of the mean loss over the whole batch."""
        rows = functional.binary_cross_entropy_with_logits(self(batch), batch.label, reduction="sum")
        # Processes' gradients are averaged: with this scale, shares of unequal size give the mean over all rows.
        loss = rows * (self.trainer.world_size / batch.global_rows)
        self.log("train/loss", loss.detach(), batch_size=len(batch), prog_bar=True)
        return loss

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> None:
        """Collect scores."""
        score = self(batch)
        self.valid_auc.update(score, batch.label)
        self.valid_uauc.update(batch.user, score, batch.label)
        loss = functional.binary_cross_entropy_with_logits(score, batch.label)
        self.valid_log_loss.update(loss, weight=len(batch))

    def on_validation_epoch_end(self) -> None:
        """Log what was collected, exact over all processes."""
        for name in ("auc", "uauc", "log_loss"):
            metric = getattr(self, f"valid_{name}")
            self.log(f"valid/{name}", metric.compute().float(), prog_bar=True, rank_zero_only=False)
            metric.reset()

    def configure_optimizers(self) -> Any:
        """Return AdamW and the schedule, which ends with the trainer's budget."""
        if self.optimizer_settings is None:
            raise ValueError(f"{self.name} has nothing to train")
        settings = self.optimizer_settings
        steps = planned_steps(self.trainer, len(self._datamodule().train_dataloader()))
        optimizer = settings.optimizer(self.parameters())
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: settings.share(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def train(self, mode: bool = True) -> "LLMRecommender":
        """Set the mode of what is trained; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only what was trained, and say what it belongs to."""
        checkpoint["state_dict"] = trained_state(self)
        checkpoint[IDENTITY] = self.identity

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another backbone, encoder, data set or method."""
        verify(checkpoint, self.identity, self)


def _without_dtype(identity: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint may be tested in another precision than it was trained in."""
    return {key: value for key, value in identity.items() if key != "dtype"}
