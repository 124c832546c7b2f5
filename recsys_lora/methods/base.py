"""The base class of all recommenders: a frozen language model, with something trained in it or in front of it.

Prompts -> soft tokens and weights -> states -> answers to the run's tasks -> losses, validation, predictions. A method
implements only what differs: the prompt versions it reads and how it words them (`versions`, `worded`), the low-rank
weights of a batch (`condition`), the vectors of the soft tokens (`soft_tokens`), additional slots of its prompts
(`extra_slots`) and what it measures before training (`calibrate`).
"""

import itertools
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.cf.two_fits import TwoFits
from recsys_lora.data.batch import Padding, PromptBatch
from recsys_lora.data.loader import DEFAULT_TOKEN_BUDGET, Batching
from recsys_lora.data.prepared import PreparedData
from recsys_lora.lowrank import Injection
from recsys_lora.methods.answers import Answers
from recsys_lora.methods.masking import Masking
from recsys_lora.methods.module import RecommenderModule
from recsys_lora.methods.offset import offset_of
from recsys_lora.methods.pairwise import Pairwise
from recsys_lora.methods.reading import columns_of, readings_of
from recsys_lora.methods.shared import Shared, Vectors
from recsys_lora.methods.soft_tokens import place_soft_tokens
from recsys_lora.methods.validation import Validation
from recsys_lora.methods.vectors import encode_candidates
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.examples import ExtraSlots
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.prompts import TaskPrompts
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Task, Version


class LLMRecommender(RecommenderModule):
    """A recommender that answers tasks with a frozen language model; its arguments are those of `Shared`.

    Attributes:
        versions: the versions of the tasks' prompts that it trains on; it answers the first.
        soft_names: the soft tokens that it can fill; empty for text-only prompts.
        writes_vectors: whether vectors are written into the prompts' text, where they stay the same in all epochs.
        reads_text_alone: whether equal prompts have equal answers for all users (apart from `offset`).
        is_personalised: whether something besides the prompts' titles and the encoder identifies the user.
        takes_first_stage: whether it can continue from the low-rank updates trained by a first stage.
        encoder: the fitted collaborative encoder; None if the method has none.
        tuned_encoder: a trained copy of it, whose vectors the method reads; None to read those of the fitted one.
        lowrank: the low-rank layers in the backbone; None if the method has none.
    """

    needs_backbone: ClassVar[bool] = True
    needs_encoder: ClassVar[bool] = False
    trains: ClassVar[bool] = True
    padding: ClassVar[Padding] = "right"
    versions: ClassVar[tuple[Version, ...]] = ("text",)
    soft_names: ClassVar[tuple[str, ...]] = ()
    writes_vectors: ClassVar[bool] = False
    reads_text_alone: ClassVar[bool] = False
    is_personalised: ClassVar[bool] = False
    takes_first_stage: ClassVar[bool] = False
    encoder: CollaborativeEncoder | None
    columns: Tensor

    def __init__(self, **shared: Unpack[Shared]) -> None:
        super().__init__()
        self.name = shared["name"]
        self.tasks = shared["tasks"]
        self.prompt = shared.get("prompt")
        self.backbone = shared["backbone"]
        self.encoder = shared.get("encoder")
        if self.encoder is None and self.needs_encoder:
            raise ValueError(f"{self.name} needs a collaborative encoder")
        self.tuned_encoder = None
        self.encoder_lr_factor = 1.0
        self.lowrank: Injection | None = None
        self.batch_size = shared.get("batch_size", 1)
        self.score = shared.get("score", "yes_minus_no")
        self.optimizer_settings = shared.get("optimizer")
        self.backbone.requires_grad_(False)
        if self.encoder is not None:
            self.encoder.requires_grad_(False)
        backbone = {key: value for key, value in self.backbone.identity.items() if key != "dtype"}
        self.identity = {"method": self.name, "backbone": backbone, **(shared.get("identity") or {})}
        self.readings = readings_of(
            self.tasks, self.versions, self.backbone, self.prompt, self.worded, self.needs_title_start
        )
        choices = [reading.choices for reading in self.readings.values()]
        binary = [task.is_binary for task in self.tasks.values()]
        asked, start = shared.get("offset", "none"), shared.get("offset_scale", 0.0)
        self.offset = offset_of(asked, self.encoder, bool(self.soft_names), start)
        self.masking = Masking(shared.get("mask_users", 0.0), shared.get("mask_items", 0.0))
        self.rows_per_user = shared.get("rows_per_user", 1)
        self.pairwise = Pairwise(shared.get("pairwise", 0.0))
        self.answers = Answers(self.backbone, choices, binary, self.score, self.offset)
        self.register_buffer("columns", columns_of(self.tasks, self.readings, self.soft_names), persistent=False)
        self.validation = Validation(self.answers, list(self.tasks))

    @classmethod
    def cannot_answer(cls, task: Task) -> str | None:
        """Return why the method cannot answer a task; None if it can."""
        return None

    @property
    def device(self) -> torch.device:
        """The backbone's device; the owner of the module's parts puts all of them there."""
        return self.backbone.device

    @property
    def read_encoder(self) -> CollaborativeEncoder:
        """The encoder whose vectors the method reads: the tuned copy if there is one, else the fitted one."""
        encoder = self.tuned_encoder or self.encoder
        assert encoder is not None, f"{self.name} has no encoder"
        return encoder

    # Overridden by methods

    @property
    def needs_title_start(self) -> bool:
        """Whether batches must include the token at which the candidate's title begins."""
        return False

    @property
    def weights_of_user(self) -> bool:
        """Whether generated weights are the same for all items of a user."""
        return False

    @property
    def history_length(self) -> int:
        """Number of earlier items that a batch must include."""
        return 0 if self.encoder is None else self.encoder.history_length

    def worded(self, template: Template) -> Template:
        """Return a task's own prompt template, changed for this method."""
        return template

    def extra_slots(self, prompts: TaskPrompts, questions: Questions) -> Iterable[ExtraSlots]:
        """Return additional slots of each question's prompt; they must not reveal its answer."""
        return itertools.repeat({}, len(questions))

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Give the low-rank layers what they need for this batch."""

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor | None:
        """Return the vectors (B, S, H) of the prompt's soft tokens; None for a text-only prompt."""
        return None

    def grow(self, users: int, items: int) -> None:
        """Make room, in place, for that many more users and items, which have no training rows."""
        for encoder in (self.encoder, self.tuned_encoder):
            if encoder is not None:
                encoder.grow(users, items)

    def release(self) -> None:
        """Restore the backbone's own linear maps; the method can no longer score."""
        if self.lowrank is not None:
            self.lowrank.remove()

    def disabled(self) -> AbstractContextManager[None]:
        """Disable the low-rank layers in this thread: the backbone answers alone."""
        return nullcontext() if self.lowrank is None else self.lowrank.disabled()

    # From questions to prompts

    def arranged(self, vectors: Tensor, batch: PromptBatch) -> Tensor:
        """Return vectors (B, V, H) of `soft_names`, the last with one per candidate, in prompt order (B, S, H)."""
        columns = self.columns[batch.task, : batch.soft_positions.shape[1]]  # (B, S)
        return vectors.gather(1, columns.unsqueeze(-1).expand(-1, -1, vectors.shape[-1]))

    def datamodule(
        self,
        data: PreparedData,
        words: Mapping[str, str],
        *,
        token_budget: int = DEFAULT_TOKEN_BUDGET,
        **settings: Any,
    ) -> TaskData:
        """Return the run's questions as prompts.

        Args:
            data: the prepared data set.
            words: the data set's words for the prompts' slots.
            token_budget: maximum number of padded tokens in a scoring batch.
            settings: the other arguments of `TaskData`.

        Raises:
            UserError: the data set has no titles, or a template has a slot that nothing fills.
        """
        prompts = {
            name: TaskPrompts(
                data, task, number, self.readings[name], self.backbone, words, self.history_length, self.extra_slots
            )
            for number, (name, task) in enumerate(self.tasks.items())
        }
        batching = Batching(self.batch_size, self.backbone.pad_id, self.padding, token_budget, self.rows_per_user)
        return TaskData(data, self.tasks, prompts, versions=self.versions, batching=batching, **settings)

    # From prompts to answers

    def embeds(self, batch: PromptBatch) -> Tensor:
        """Condition the backbone on a batch and return its input embeddings (B, T, H), including soft tokens."""
        vectors = self.collaborative(batch)
        self.condition(batch, vectors)
        embeds = self.backbone.embed(batch.input_ids)  # (B, T, H)
        soft = self.soft_tokens(batch, vectors)
        return embeds if soft is None else place_soft_tokens(embeds, batch.soft_positions, soft)

    def hidden(self, batch: PromptBatch) -> Tensor:
        """Return the last hidden states (B, T, H) of a batch."""
        return self.backbone.hidden(self.embeds(batch), batch.attention_mask, right=batch.padding == "right")

    def collaborative(self, batch: PromptBatch) -> Vectors | None:
        """Return the vectors of the batch's users and candidates; gradients reach the tuned encoder, if any."""
        if self.encoder is None:
            return None
        with nullcontext() if self.tuned_encoder is not None else torch.no_grad():
            return encode_candidates(self.read_encoder, batch.user, batch.history, batch.items)

    def forward(self, batch: PromptBatch) -> Tensor:
        """Answer a batch of one task with choices: scores (B,) of yes-or-no questions, else logits."""
        return self.answers.read(batch, self.backbone.last(self.hidden(batch), batch.attention_mask))

    def loss(self, batch: PromptBatch) -> Tensor:
        """Return each row's loss (B,), float32, without the pairwise loss."""
        return self.answers.loss(batch, self.hidden(batch))

    def train(self, mode: bool = True) -> "LLMRecommender":
        """Set the mode of the trained parts; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.encoder is not None and not isinstance(self.encoder, TwoFits):
            self.encoder.eval()
        return self
