"""CoLLM: one small network for users and items maps collaborative vectors to two tokens of the prompt.

    e_u, e_i    = collaborative encoder(user, history, item)
    soft tokens = MLP(e_u), MLP(e_i)           MLP: Linear(D, F D), ReLU, Linear(F D, H)

Stage 1 trains LoRA on the text prompt, stage 2 only the mapping. The paper's other strategies are options: the encoder
is tuned, too, from its fitted or from fresh weights; or everything is trained at once, in one stage.
Source: CoLLM, TKDE 2025, arXiv 2310.19488.

Ours: the vectors are divided by their standard deviation, and the mapping is initialised such that the soft tokens have
the standard deviation of the backbone's own embeddings.
"""

from collections.abc import Callable
from typing import ClassVar, Literal, NotRequired, Unpack

import torch
from torch import Tensor, nn

from recsys_lora.cf.encoder import CollaborativeEncoder
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.lora import LoRA, SecondStage, Tuned
from recsys_lora.methods.shared import Vectors
from recsys_lora.methods.soft_tokens import SIDES, token_std
from recsys_lora.methods.tuned_encoder import EncoderStart, tuned_copy
from recsys_lora.methods.vectors import InputScale, VectorScale
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat, PositiveFloat, PositiveInt

OutputScale = Literal["none", "tokens"]


class Mapped(Tuned):
    """Arguments of all recommenders with CoLLM's mapping: see `Tuned` and `CoLLM`."""

    factor: PositiveInt
    input_scale: InputScale
    output_scale: OutputScale
    vector_noise: NotRequired[NonNegativeFloat]
    encoder_lr_factor: NotRequired[PositiveFloat]


class CoLLM(SecondStage):
    """CoLLM on one backbone and one collaborative encoder.

    Args:
        factor: F; the mapping's hidden layer is F times as wide as the vectors.
        input_scale: `std` divides e_u and e_i by the standard deviation of their entries over the training rows.
        vector_noise: standard deviation of the noise added to their scaled entries in training.
        output_scale: initialisation of the mapping: `tokens` gives its tokens the standard deviation of the backbone's
            embeddings, `none` is PyTorch's default.
        tune_encoder: train a copy of the collaborative encoder, too; see `recsys_lora.methods.tuned_encoder`.
        encoder_start: initial weights of that copy: `fitted` or `fresh`.
        encoder_lr_factor: its learning rate relative to the rest.
        lora: see `LoRATuned`.
        tune_lora: see `SecondStage`.
        tuned: arguments of all recommenders with LoRA; an encoder is required.

    Raises:
        UserError: e_u and e_i differ in width, or the prompt has no soft tokens or unknown ones.
        ValueError: an encoder with two fits is to be tuned.
    """

    needs_encoder: ClassVar[bool] = True
    versions = ("collaborative",)
    soft_names: ClassVar[tuple[str, ...]] = SIDES
    encoder: CollaborativeEncoder

    def __init__(
        self,
        *,
        factor: PositiveInt,
        input_scale: InputScale,
        output_scale: OutputScale,
        tune_encoder: bool,
        encoder_start: EncoderStart,
        tune_lora: bool,
        vector_noise: NonNegativeFloat = 0.0,
        encoder_lr_factor: PositiveFloat = 1.0,
        lora: Callable[..., LoRA] = LoRA,
        **tuned: Unpack[Tuned],
    ) -> None:
        super().__init__(tune_lora=tune_lora, lora=lora, **tuned)
        vectors = self.encoder
        if vectors.user_dim != vectors.item_dim:
            raise UserError(
                f"cf: e_u is {vectors.user_dim} wide and e_i {vectors.item_dim}, but model={self.name} maps both with "
                "one network: choose an encoder whose vectors are equally wide"
            )
        std = token_std(self.backbone) if output_scale == "tokens" else None
        self.mapping = mapping(vectors.user_dim, factor, self.backbone.hidden_size, std)
        if tune_encoder:
            self.tuned_encoder = tuned_copy(self.encoder, tuned.get("untrained_encoder"), encoder_start)
            self.encoder_lr_factor = encoder_lr_factor
        self.vector_scale = VectorScale(input_scale, vector_noise)

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor:
        """Return the tokens (B, S, H) of the batch's users and candidates, in the order of the prompt."""
        assert vectors is not None, "CoLLM needs an encoder"
        user, items = self.vector_scale(*vectors)
        sides = torch.cat([user.unsqueeze(1), items], dim=1)  # (B, 1 + C, D)
        return self.arranged(self.mapping(sides), batch)

    def calibrate(self, data: PreparedData, train: UserItems) -> None:
        """Measure the standard deviation of the initial collaborative vectors over the training questions."""
        self.vector_scale.measure(self.read_encoder, data, train)


def mapping(dim: int, factor: int, hidden_size: int, std: float | None = None) -> nn.Sequential:
    """Return the network from vectors (..., D) to tokens (..., H).

    Args:
        dim: D.
        factor: the hidden layer's width over D.
        hidden_size: H.
        std: initial standard deviation of the tokens, for vectors of standard deviation 1; None for PyTorch's default
            initialisation.
    """
    first, last = nn.Linear(dim, factor * dim), nn.Linear(factor * dim, hidden_size)
    if std is not None:
        nn.init.kaiming_normal_(first.weight, nonlinearity="relu")  # the hidden layer's mean square is then 1
        nn.init.normal_(last.weight, std=std / last.in_features**0.5)
        for layer in (first, last):
            nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), last)
