"""What all language models of this project share: a frozen backbone and encoder, soft tokens, low-rank weights for each
batch, AdamW with a schedule, and checkpoints of what was trained.

What is asked of it and how an answer becomes a loss or a score, `LLMRecommender` says for the one question whether a
user likes an item, and CKF for several tasks at once.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, cast

import lightning
import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import Padding, PromptBatch
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.errors import UserError
from recsys_lora.llm.backbone import Backbone
from recsys_lora.llm.soft_tokens import place_soft_tokens
from recsys_lora.lowrank import Injection
from recsys_lora.methods.checkpoint import IDENTITY, trained_state, verify
from recsys_lora.methods.optimizer import OptimizerSettings, may_be_fused, planned_steps

Vectors = tuple[Tensor, Tensor]


class LLMModule(lightning.LightningModule):
    """A frozen language model with something trained in it or before it.

    Args:
        name: what tables call it.
        batch_rows: rows of a training batch, over all processes together.
        optimizer: how it is trained; None for what is not.
        backbone: the language model.
        encoder: the fitted collaborative encoder, frozen; None for what needs none.
        identity: what the run's checkpoints belong to besides the backbone: `data` and `encoder` keys.
    """

    needs_backbone: ClassVar[bool] = True
    needs_encoder: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    multi_task: ClassVar[bool] = False
    padding: ClassVar[Padding] = "right"

    def __init__(
        self,
        *,
        name: str,
        batch_rows: int,
        optimizer: OptimizerSettings | None,
        backbone: Backbone,
        encoder: nn.Module | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # checkpoints hold what was trained; `verify` sees to the rest
        self.name, self.batch_rows, self.optimizer_settings = name, batch_rows, optimizer
        self.backbone, self.encoder = backbone, encoder
        backbone.requires_grad_(False)
        if encoder is not None:
            encoder.requires_grad_(False)
        self.identity = {"method": name, "backbone": _without_dtype(backbone.identity), **(identity or {})}

    @property
    def device(self) -> torch.device:
        """Where the backbone is; whoever owns the module's parts puts all of them there."""
        return self.backbone.device

    @property
    def personal(self) -> bool:
        """Whether more than the prompt's titles tells the method who the user is: it is then tested with them mixed."""
        return self.needs_encoder

    # What a method overrides

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Give the low-rank layers what they need for this batch; `vectors` are (e_u, e_i), each (B, D)."""

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor | None:
        """Return the vectors (B, S, H) of the prompt's soft tokens, None for a prompt of text alone."""
        return None

    def prepare_for(self, data: PreparedData, train: Rows) -> None:
        """Measure on the training rows what the method must know before its first step."""

    def release(self) -> None:
        """Take whatever the method put into the backbone out of it again; the method cannot score any more."""

    def disabled(self) -> AbstractContextManager[None]:
        """Switch off whatever the method put into the backbone, for this thread: the backbone alone answers."""
        lowrank: Injection | None = getattr(self, "lowrank", None)
        return nullcontext() if lowrank is None else lowrank.disabled()

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take over what an earlier stage trained.

        Args:
            state: its trained parameters, by name.

        Raises:
            UserError: this method has no parameter of such a name and shape.
        """
        own = dict(self.named_parameters())
        for name, value in state.items():
            if name not in own or own[name].shape != value.shape:
                theirs = tuple(own[name].shape) if name in own else "nothing of that name"
                raise UserError(
                    f"first: its {name} {tuple(value.shape)} meets {theirs} in model={self.name}: give both the same "
                    "low-rank updates (rank, targets), or first=null"
                )
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)

    # From prompts to states

    def embeds(self, batch: PromptBatch) -> Tensor:
        """Condition the backbone on a batch and return its input embeddings (B, T, H), soft tokens in their places."""
        vectors = self.collaborative(batch)
        self.condition(batch, vectors)
        embeds = self.backbone.embed(batch.input_ids)  # (B, T, H)
        soft = self.soft_tokens(batch, vectors)
        return embeds if soft is None else place_soft_tokens(embeds, batch.soft_positions, soft)

    def hidden(self, batch: PromptBatch) -> Tensor:
        """Return the last hidden states (B, T, H) of a batch."""
        return self.backbone.hidden(self.embeds(batch), batch.attention_mask, right=batch.padding == "right")

    def collaborative(self, batch: PromptBatch) -> Vectors | None:
        """Return (e_u (B, D_u), e_i (B, D_i)) of the batch's users and first candidates from the frozen encoder."""
        if self.encoder is None:
            return None
        encoder = cast(CollaborativeEncoder, self.encoder)
        with torch.no_grad():
            user, item = encoder.encode(batch.user, batch.history, batch.item)
        return user.float(), item.float()

    # Lightning's steps

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell a backbone that records graphs where a step begins; gradients that add up are all of one step."""
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.backbone.begin_step()

    @property
    def logs_now(self) -> bool:
        """Whether loggers get the values of the present step: what only they read is computed then."""
        return bool(self.trainer._logger_connector.should_update_logs)

    def optimizer_and_schedule(self, parameters: Iterable[nn.Parameter], batches: int) -> dict[str, Any]:
        """Return AdamW over `parameters` and its schedule, which ends with the trainer's budget.

        Args:
            parameters: those without a gradient are left out.
            batches: what an epoch has, before the trainer limits it.
        """
        settings = self.optimizer_settings
        if settings is None:
            raise ValueError(f"{self.name} has nothing to train")
        steps = planned_steps(self.trainer, batches)
        optimizer = settings.optimizer(parameters, fused=may_be_fused(self.trainer))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: settings.share(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"}}

    def train(self, mode: bool = True) -> "LLMModule":
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
