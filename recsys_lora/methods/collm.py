"""CoLLM: collaborative vectors become two tokens of the prompt, through one small network for users and items.

    e_u, e_i    = collaborative encoder(user, history, item)
    soft tokens = MLP(e_u), MLP(e_i)           MLP: Linear(D, F D), ReLU, Linear(F D, H)

Stage 1 trains LoRA on the text prompt, stage 2 the mapping alone. Other strategies of the paper are knobs: the encoder
is tuned, too, from its fitted weights or from fresh ones; or everything is trained at once, in one stage.
Source: CoLLM, TKDE 2025, arXiv 2310.19488.

Ours: the vectors are divided by their spread, and the mapping starts so that the soft tokens spread as the backbone's
own embeddings do.
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
    """What every recommender with CoLLM's mapping is made with: see `Tuned` and `CoLLM`."""

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
        vector_noise: standard deviation of the noise on their entries in training, after that.
        output_scale: `tokens` starts the mapping so that its tokens spread as the backbone's embeddings do, `none` as
            PyTorch starts linear maps.
        tune_encoder: train a copy of the collaborative encoder, too; see `recsys_lora.methods.tuned_encoder`.
        encoder_start: where that copy starts: at the `fitted` weights or at `fresh` ones.
        encoder_lr_factor: its learning rate over that of the rest.
        lora: see `LoRATuned`.
        tune_lora: see `SecondStage`.
        tuned: what every recommender with LoRA is made with; it needs an encoder.

    Raises:
        UserError: e_u and e_i differ in width, the prompt has no soft tokens or unknown ones, or two fits of the
            encoder would be tuned.
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
        """Measure the spread of the collaborative vectors over the training questions, as they are at the start."""
        self.vector_scale.measure(self.read_encoder, data, train)


def mapping(dim: int, factor: int, hidden_size: int, std: float | None = None) -> nn.Sequential:
    """Return the network from vectors (..., D) to tokens (..., H).

    Args:
        dim: D.
        factor: of the hidden layer's width over D.
        hidden_size: H.
        std: standard deviation of the tokens of vectors of standard deviation 1, at the start; None starts linear maps
            as PyTorch does.
    """
    first, last = nn.Linear(dim, factor * dim), nn.Linear(factor * dim, hidden_size)
    if std is not None:
        nn.init.kaiming_normal_(first.weight, nonlinearity="relu")  # the hidden layer's mean square is then 1
        nn.init.normal_(last.weight, std=std / last.in_features**0.5)
        for layer in (first, last):
            nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), last)
