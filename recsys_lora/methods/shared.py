"""What every recommender is made with, and what it gets of a batch."""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

from torch import Tensor

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.llm.backbone import Backbone
from recsys_lora.methods.answers import Score
from recsys_lora.methods.offset import Offset
from recsys_lora.methods.optimizer import OptimizerSettings
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.task import Task
from recsys_lora.utils.types import Fraction, NonNegativeFloat, PositiveInt

Vectors = tuple[Tensor, Tensor]
"""e_u (B, D_u) of the users and e_i (B, C, D_i) of the candidates."""


class Shared(TypedDict):
    """What every recommender is made with.

    Attributes:
        name: what tables call it.
        tasks: what it is asked, by name; their order is their number in batches.
        backbone: the language model.
        prompt: its own wording of the task `ctr`; None, or left out: the task's.
        batch_size: questions of a training batch, over all processes together.
        score: of a yes-or-no question: the logit of "Yes", or that minus the logit of "No".
        optimizer: how it is trained; left out for what is not.
        encoder: the fitted collaborative encoder, frozen; left out for what needs none.
        untrained_encoder: makes an encoder like it with fresh weights, on the CPU; for what tunes one.
        offset: `cf` adds the encoder's logit to that of yes-or-no questions; other tasks stay as they are.
        offset_scale: the weight of the language model's own logit beside that, before the first step.
        mask_users: share of the training rows whose user the encoder is told to be unseen.
        mask_items: share of the training rows whose candidates are.
        pairwise: weight of the pairwise loss; see `recsys_lora.methods.pairwise`.
        rows_per_user: rows of one user that stand side by side in a training batch.
        identity: what the run's checkpoints belong to besides the backbone: `data` and `encoder` keys.
    """

    name: str
    tasks: Mapping[str, Task]
    backbone: Backbone
    prompt: NotRequired[Template | None]
    batch_size: NotRequired[PositiveInt]
    score: NotRequired[Score]
    optimizer: NotRequired[OptimizerSettings]
    encoder: NotRequired[CollaborativeEncoder]
    untrained_encoder: NotRequired[Callable[[], CollaborativeEncoder] | None]
    offset: NotRequired[Offset]
    offset_scale: NotRequired[NonNegativeFloat]
    mask_users: NotRequired[Fraction]
    mask_items: NotRequired[Fraction]
    pairwise: NotRequired[NonNegativeFloat]
    rows_per_user: NotRequired[PositiveInt]
    identity: NotRequired[Mapping[str, Any]]
