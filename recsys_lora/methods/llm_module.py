"""All language-model recommenders that answer one question: does this user like this item?

Prompts -> soft tokens and weights -> answer logits -> loss. A method says only what differs: `condition` (which
low-rank weights the batch gets), `soft_tokens` (which vectors fill the placeholders of its prompt), `more_texts` (which
further slots its prompt has) and what it measures before training (`prepare_for`).
"""

import itertools
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired, TypedDict, Unpack, cast

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.examples import PromptBuilder
from recsys_lora.data.module import PromptData
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.llm.answer import ChoiceAnswer, ResolvedChoices
from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.base import LLMModule
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.metrics.torch_metrics import AUC, UAUC
from recsys_lora.prompts.encode import Encoder
from recsys_lora.prompts.template import Template
from recsys_lora.types import PositiveInt

log = logging.getLogger(__name__)

Score = Literal["yes", "yes_minus_no"]
ANSWERS = ("Yes", "No")


class Shared(TypedDict):
    """What every recommender is made with.

    Attributes:
        name: what tables call it.
        prompt: the wording.
        batch_rows: rows of a training batch, over all processes together.
        score: the logit of "Yes", or that minus the logit of "No".
        optimizer: how it is trained; left out for what is not.
        backbone: the language model.
        encoder: the fitted collaborative encoder, frozen; left out for what needs none.
        identity: what the run's checkpoints belong to besides the backbone: `data` and `encoder` keys.
    """

    name: str
    prompt: Template
    batch_rows: NotRequired[PositiveInt]
    score: Score
    optimizer: NotRequired[OptimizerSettings]
    backbone: Backbone
    encoder: NotRequired[nn.Module]
    identity: NotRequired[Mapping[str, Any]]


class LLMRecommender(LLMModule):
    """A recommender whose score is the logit of an answer token; its arguments are those of `Shared`."""

    def __init__(self, **shared: Unpack[Shared]) -> None:
        super().__init__(
            name=shared["name"],
            batch_rows=shared.get("batch_rows", 1),
            optimizer=shared.get("optimizer"),
            backbone=shared["backbone"],
            encoder=shared.get("encoder"),
            identity=shared.get("identity"),
        )
        self.prompt, self.score = shared["prompt"], shared["score"]
        backbone, prompt = self.backbone, self.prompt
        ending = backbone.wrap(prompt.ending) if backbone.wrap else prompt.ending
        self.choices: ResolvedChoices = ChoiceAnswer(ANSWERS).resolve(backbone.tokenizer, ending)
        log.info("answers are read as the tokens %s", " and ".join(map(repr, self.choices.pieces)))
        self.valid_auc, self.valid_uauc, self.valid_log_loss = AUC(), UAUC(), MeanMetric()

    @property
    def needs_title_start(self) -> bool:
        """Whether the method's batches must say at which token of a prompt the candidate's title begins."""
        return False

    def more_texts(self, data: PreparedData, rows: Rows) -> Iterable[Mapping[str, str]]:
        """Return further slots of each row's prompt; they may not tell the row's own label."""
        return itertools.repeat({}, len(rows))

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
            find_title=self.needs_title_start,
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
        last = self.backbone.last(self.hidden(batch), batch.attention_mask)  # (B, H)
        logits = self.backbone.logits_at(last, self.choices.token_ids)  # (B, 2)
        return logits[:, 0] if self.score == "yes" else logits[:, 0] - logits[:, 1]

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
        self.log("train/loss", loss.detach(), batch_size=len(batch))
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
        return self.optimizer_and_schedule(self.parameters(), len(self._datamodule().train_dataloader()))
