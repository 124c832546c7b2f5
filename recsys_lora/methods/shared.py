"""The arguments of all recommenders, and the vectors they get for a batch."""

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
    """Arguments of all recommenders.

    Attributes:
        name: its name in tables.
        tasks: the tasks it answers, by name; their order gives their numbers in batches.
        backbone: the language model.
        prompt: its own template for the task `ctr`; None or omitted for the task's.
        batch_size: questions per training batch, over all processes.
        score: the score of a yes-or-no question: the logit of "Yes", or that minus the logit of "No".
        optimizer: training settings; omitted for methods without training.
        encoder: the fitted collaborative encoder, frozen; omitted if not needed.
        untrained_encoder: creates an encoder like it with fresh weights, on the CPU; for methods that tune one.
        offset: `cf` adds the encoder's logit to that of yes-or-no questions; other tasks are unchanged.
        offset_scale: the initial weight of the language model's own logit in that sum.
        mask_users: share of the training rows whose user is masked as unseen for the encoder.
        mask_items: share of the training rows whose candidates are masked.
        pairwise: weight of the pairwise loss; see `recsys_lora.methods.pairwise`.
        rows_per_user: consecutive rows of one user in a training batch.
        identity: the identity of the run's checkpoints besides the backbone: `data` and `encoder` keys.
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
