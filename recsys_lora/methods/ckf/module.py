"""CKF: soft tokens from a personalised map of collaborative vectors, and low-rank updates routed by task.

    e_u, e_v    = frozen collaborative encoder(user, history, item)
    soft tokens = mapping(e_u, e_v, history)                           `mapping.py`
    y           = W0 x + the tasks' shared update + the own task's     `multi_lora.py`
    loss        = cross-entropy of the answer, of every question as text alone and with soft tokens; which of the two
                  trains what, and when, says the curriculum           `objective.py`

Source: CKF, TKDE 2025, arXiv 2410.20642.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from recsys_lora.callbacks.measure import gradient_norm
from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.training import TrainBatch
from recsys_lora.methods.ckf.mapping import CollaborativeMapping, MappingSpec
from recsys_lora.methods.ckf.multi_lora import MultiLoRATuned, MultiTuned
from recsys_lora.methods.ckf.objective import Objective
from recsys_lora.methods.optimizer import OptimizerPart
from recsys_lora.methods.shared import Vectors
from recsys_lora.methods.soft_tokens import SIDES, token_std
from recsys_lora.methods.vectors import InputScale, VectorScale, encode_candidates, last
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat, NonNegativeInt


class CKFMultiTaskModule(MultiLoRATuned):
    """CKF on one backbone and one collaborative encoder.

    Args:
        objective: which loss trains what, and when.
        mapping: makes the soft tokens: `CollaborativeMapping` with its own knobs bound.
        history_length: earlier items that the meta-network reads.
        input_scale: `std` divides e_u and e_v by the standard deviation of their entries over the training questions.
        vector_noise: standard deviation of the noise on their entries in training, after that.
        tuned: what every recommender with Multi-LoRA is made with; it needs an encoder.
    """

    needs_encoder: ClassVar[bool] = True
    versions = ("collaborative", "text")
    soft_names: ClassVar[tuple[str, ...]] = SIDES
    encoder: CollaborativeEncoder

    def __init__(
        self,
        *,
        objective: Objective,
        mapping: Callable[..., CollaborativeMapping],
        history_length: NonNegativeInt,
        input_scale: InputScale,
        vector_noise: NonNegativeFloat = 0.0,
        **tuned: Unpack[MultiTuned],
    ) -> None:
        super().__init__(**tuned)
        self.identity |= {"tasks": list(self.tasks)}  # an update a task: those of other tasks do not fit
        self.objective = objective
        self.meta_history = history_length
        widths = self.encoder.user_dim, self.encoder.item_dim, self.backbone.hidden_size
        self.mapping = mapping(MappingSpec(*widths, token_std(self.backbone)))
        self.vector_scale = VectorScale(input_scale, vector_noise)
        self.steps = math.inf

    @property
    def history_length(self) -> int:
        """Earlier items that a batch must bring: what the meta-network or the encoder reads, the more of the two."""
        return max(self.meta_history, super().history_length)

    # What the language model is given

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Tell the low-rank updates each row's task, and whether this version of the questions may train them."""
        frozen = vectors is not None and self.objective.separate
        self.lowrank.state.set(task=batch.task, frozen=frozen)

    def collaborative(self, batch: PromptBatch) -> Vectors | None:
        """Return what the frozen encoder knows of a batch, None for prompts of text alone.

        Returns:
            e_u (B, D_u) and e_v (B, C + L, D_i): see `encode_candidates`.
        """
        if not batch.soft_positions.shape[1]:
            return None
        with torch.no_grad():
            return encode_candidates(self.encoder, batch.user, batch.history, batch.items, self.meta_history)

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor | None:
        """Return the user's token and one a candidate (B, S, H)."""
        if vectors is None:
            return None
        user, item = self.vector_scale(*vectors)
        candidates = batch.items.shape[1]
        present = last(batch.history, self.meta_history) > 0
        tokens: Tensor = self.mapping(user, item[:, :candidates], item[:, candidates:], present)  # (B, 1 + C, H)
        return self.arranged(tokens, batch)

    def calibrate(self, data: PreparedData, train: UserItems) -> None:
        """Measure the spread of the collaborative vectors over the training questions."""
        self.vector_scale.measure(self.encoder, data, train)

    # Lightning's steps

    @property
    def progress(self) -> float:
        """How much of the budget is used, t / T."""
        return float(self.trainer.global_step / self.steps)

    def version_loss(self, version: str, batch: TrainBatch) -> Tensor:
        """Return the sum of one version's losses, times its weight now: see `Objective`."""
        return self.objective.loss_weights(self.progress)[version] * super().version_loss(version, batch)

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Return this process's share of the losses of the versions that train something now."""
        computed = self.objective.computed(self.progress)
        versions = {name: groups for name, groups in batch.versions.items() if computed[name]}
        loss = super().training_step(replace(batch, versions=versions), batch_idx)
        if self.logs_now:
            self.log("train/lambda", self.objective.weight(self.progress), batch_size=len(batch))
        if self.trainer.world_size == 1:
            return loss
        return sum((0 * parameter.sum() for parameter in self._resting()), loss)  # DDP waits for a gradient of each

    def _resting(self) -> list[nn.Parameter]:
        """Return the parameters that no version of the present step trains."""
        shares = self.objective.shares(self.progress)
        lowrank = [] if shares.lowrank else [self.lowrank]
        mapping = [] if shares.mapping else self._with_mapping
        return [parameter for part in (*lowrank, *mapping) for parameter in part.parameters()]

    @property
    def _with_mapping(self) -> list[nn.Module]:
        """What the collaborative version trains."""
        return [self.mapping] if self.offset is None else [self.mapping, self.offset]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave resting parameters and their averages alone, and log what moves the others."""
        for parameter in self._resting():
            parameter.grad = None
        if self.logs_now:
            self.log("train/grad_norm_lowrank", gradient_norm(self.lowrank))
            self.log("train/grad_norm_mapping", gradient_norm(self.mapping))

    def optimizer_parts(self, steps: float) -> Sequence[OptimizerPart]:
        """Return the low-rank updates and the mapping, each with its share of the learning rate by the curriculum.

        Raises:
            UserError: the budget has no end, which a curriculum needs.
        """
        if self.objective.separate and not math.isfinite(steps):
            raise UserError(
                f"model.objective.curriculum={self.objective.curriculum}: needs an end to go towards: "
                "set trainer.max_steps or trainer.max_epochs, or curriculum=joint"
            )
        self.steps = steps
        mapping = (parameter for part in self._with_mapping for parameter in part.parameters())
        return [
            (self.lowrank.parameters(), lambda step: self.objective.shares(step / steps).lowrank),
            (mapping, lambda step: self.objective.shares(step / steps).mapping),
        ]
