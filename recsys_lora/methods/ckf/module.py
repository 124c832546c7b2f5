"""CKF: soft tokens from a personalised map of collaborative vectors, and low-rank updates routed by task.

    e_u, e_v    = frozen collaborative encoder(user, history, item)
    soft tokens = mapping(e_u, e_v, history)                           `mapping.py`
    y           = W0 x + the shared update + the task's own update     `multi_lora.py`
    loss        = cross-entropy of the answer, for every question as text only and with soft tokens; the curriculum
                  determines what each of them trains, and when        `objective.py`

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
        mapping: creates the mapping to soft tokens: `CollaborativeMapping` with its own options bound.
        history_length: number of earlier items that the meta-network reads.
        input_scale: `std` divides e_u and e_v by the standard deviation of their entries over the training questions.
        vector_noise: standard deviation of the noise added to their scaled entries in training.
        tuned: arguments of all recommenders with Multi-LoRA; an encoder is required.
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
        self.identity |= {"tasks": list(self.tasks)}  # one update per task: those of other tasks do not fit
        self.objective = objective
        self.meta_history = history_length
        widths = self.encoder.user_dim, self.encoder.item_dim, self.backbone.hidden_size
        self.mapping = mapping(MappingSpec(*widths, token_std(self.backbone)))
        self.vector_scale = VectorScale(input_scale, vector_noise)
        self.steps = math.inf

    @property
    def history_length(self) -> int:
        """Number of earlier items that a batch must include: the larger of the meta-network's and the encoder's."""
        return max(self.meta_history, super().history_length)

    # Inputs of the language model

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Set each row's task for the low-rank updates, and whether this version of the questions trains them."""
        frozen = vectors is not None and self.objective.separate
        self.lowrank.state.set(task=batch.task, frozen=frozen)

    def collaborative(self, batch: PromptBatch) -> Vectors | None:
        """Return the frozen encoder's vectors for a batch; None for text-only prompts.

        Returns:
            e_u (B, D_u) and e_v (B, C + L, D_i): see `encode_candidates`.
        """
        if not batch.soft_positions.shape[1]:
            return None
        with torch.no_grad():
            return encode_candidates(self.encoder, batch.user, batch.history, batch.items, self.meta_history)

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor | None:
        """Return the user's token and one per candidate (B, S, H)."""
        if vectors is None:
            return None
        user, item = self.vector_scale(*vectors)
        candidates = batch.items.shape[1]
        present = last(batch.history, self.meta_history) > 0
        tokens: Tensor = self.mapping(user, item[:, :candidates], item[:, candidates:], present)  # (B, 1 + C, H)
        return self.arranged(tokens, batch)

    def calibrate(self, data: PreparedData, train: UserItems) -> None:
        """Measure the standard deviation of the collaborative vectors over the training questions."""
        self.vector_scale.measure(self.encoder, data, train)

    # Lightning's steps

    @property
    def progress(self) -> float:
        """The share of the budget used so far, t / T."""
        return float(self.trainer.global_step / self.steps)

    def version_loss(self, version: str, batch: TrainBatch) -> Tensor:
        """Return the sum of one version's losses, times its current weight: see `Objective`."""
        return self.objective.loss_weights(self.progress)[version] * super().version_loss(version, batch)

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Return this process's share of the losses of the versions that currently train something."""
        computed = self.objective.computed(self.progress)
        versions = {name: groups for name, groups in batch.versions.items() if computed[name]}
        loss = super().training_step(replace(batch, versions=versions), batch_idx)
        if self.logs_now:
            self.log("train/lambda", self.objective.weight(self.progress), batch_size=len(batch))
        if self.trainer.world_size == 1:
            return loss
        return sum((0 * parameter.sum() for parameter in self._resting()), loss)  # DDP needs a gradient for each

    def _resting(self) -> list[nn.Parameter]:
        """Return the parameters that no version trains in the current step."""
        shares = self.objective.shares(self.progress)
        lowrank = [] if shares.lowrank else [self.lowrank]
        mapping = [] if shares.mapping else self._with_mapping
        return [parameter for part in (*lowrank, *mapping) for parameter in part.parameters()]

    @property
    def _with_mapping(self) -> list[nn.Module]:
        """The modules that the collaborative version trains."""
        return [self.mapping] if self.offset is None else [self.mapping, self.offset]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave resting parameters and their moments unchanged, and log the gradient norms."""
        for parameter in self._resting():
            parameter.grad = None
        if self.logs_now:
            self.log("train/grad_norm_lowrank", gradient_norm(self.lowrank))
            self.log("train/grad_norm_mapping", gradient_norm(self.mapping))

    def optimizer_parts(self, steps: float) -> Sequence[OptimizerPart]:
        """Return the low-rank updates and the mapping, each with its share of the learning rate in the curriculum.

        Raises:
            UserError: the budget has no end, but the curriculum needs one.
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
