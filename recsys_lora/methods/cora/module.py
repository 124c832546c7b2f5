"""CoRA: a (user, item) pair becomes low-rank weights of a frozen language model that reads only text.

    e_u, e_i = frozen collaborative encoder(user, history, item)
    A(u, i)  = generator(e_u, e_i)                                    (H, R), normalised
    y        = W0 x + (alpha / R) · P_lm A(u, i)^T dropout(x)         in every adapted linear map m of every block l

Only the generator and the P's are trained; P starts at zero, so training starts from the frozen model. With
`tune_encoder` (ours), a copy of the encoder is trained with them.
Source: CoRA, AAAI 2025, arXiv 2408.10645.

Ours: the backbone can first be tuned on the text with LoRA (`text_lora`), to which the generated weights are added: a
small frozen model learns little from titles. With scope=suffix the generated weights act on a prompt's tokens from the
candidate's title on; the tokens before it, which all candidates of one user share, are read without them. If `{title}`
precedes `{history}`, these are few.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Unpack

import torch
from torch import Tensor, nn

from recsys_lora.cf.dot import DotProductEncoder
from recsys_lora.cf.encoder import Catalogue, CollaborativeEncoder
from recsys_lora.cf.two_fits import TwoFits
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.lowrank import Generated, Injection, Site, Source, Static, inject
from recsys_lora.methods.cora.generator import WeightGenerator
from recsys_lora.methods.cora.statistics import WIDTH, Statistics
from recsys_lora.methods.lora import LoRA, LoRATuned, Tuned
from recsys_lora.methods.shared import Vectors
from recsys_lora.methods.tuned_encoder import tuned_copy
from recsys_lora.methods.vectors import InputScale, VectorScale, mean_of_present
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeFloat, PositiveFloat

Scope = Literal["all", "suffix"]
TextLoRA = Literal["none", "fixed", "tuned"]
Sharing = Literal["all", "per_layer", "per_matrix"]


def shared_factor(site: Site, sharing: Sharing) -> str:
    """Return the name of the A(u, i) that a linear map reads; maps with one name share one A, and so an input width.

    Args:
        site: the linear map.
        sharing: `all` is the paper's one A for all maps of one input width; `per_layer` and `per_matrix` have one for
            each decoder block or kind of matrix, and width.
    """
    width = f"width{site.in_features}"
    return {"all": width, "per_layer": f"layer{site.block}_{width}", "per_matrix": f"{site.target}_{width}"}[sharing]


@dataclass(frozen=True)
class GeneratedLoRA(LoRA):
    """Low-rank updates whose A(u, i) a network generates, with or without updates shared by all rows.

    Attributes:
        sharing: which linear maps share one A(u, i).
        text_lora: see `CoRAModule`.
    """

    sharing: Sharing = "all"
    text_lora: TextLoRA = "none"

    def install(self, model: nn.Module) -> Injection:
        """Add the updates to a decoder, in place; they start at zero.

        Raises:
            UserError: the model has no linear map with a requested name.
        """

        def adapted(site: Site) -> list[Source]:
            shape = site.in_features, site.out_features, self.rank, self.alpha, self.dropout, self.dropout_per
            plain = [] if self.text_lora == "none" else [Static(*shape)]  # first, so that names match a first stage's
            return [*plain, Generated(shared_factor(site, self.sharing), *shape)]

        return inject(model, self.targets, adapted)


class CoRAModule(LoRATuned):
    """CoRA on one backbone and one collaborative encoder.

    Args:
        generator: creates the weight generator: `WeightGenerator` with its own options bound.
        sharing: which of the adapted linear maps share one A(u, i).
        scope: the tokens that the weights act on: all, or those from the candidate's title on.
        input_scale: `std` divides e_u and e_i by the standard deviation of their entries over the training rows.
        vector_noise: standard deviation of the noise added to their scaled entries in training.
        text_lora: LoRA of the same rank and scale on the same maps, shared by all pairs: `fixed` keeps it as trained by
            a first stage, without dropout; `tuned` trains it with the generator.
        tune_encoder: train a copy of the collaborative encoder, too; see `recsys_lora.methods.tuned_encoder`.
        encoder_lr_factor: its learning rate relative to the rest.
        user_statistics: append statistics of the train rows to the user and item vectors; see `Statistics`.
        catalogue: how many users and items there are; required by `user_statistics`.
        tuned: arguments of all recommenders with LoRA; an encoder is required.

    Raises:
        UserError: the backbone has no linear map with a requested name, or scope=suffix has a prompt without a title.
        ValueError: an encoder with two fits is to be tuned.
    """

    needs_encoder: ClassVar[bool] = True
    encoder: CollaborativeEncoder

    def __init__(
        self,
        *,
        generator: Callable[..., WeightGenerator],
        sharing: Sharing,
        scope: Scope,
        input_scale: InputScale,
        vector_noise: NonNegativeFloat = 0.0,
        text_lora: TextLoRA = "none",
        tune_encoder: bool = False,
        encoder_lr_factor: PositiveFloat = 1.0,
        user_statistics: bool = False,
        catalogue: Catalogue | None = None,
        **tuned: Unpack[Tuned],
    ) -> None:
        self.scope = scope
        super().__init__(lora=partial(GeneratedLoRA, sharing=sharing, text_lora=text_lora), **tuned)
        for wording in (wording for reading in self.readings.values() for wording in reading.wordings.values()):
            if scope == "suffix" and not wording.template.shows_title():
                raise UserError(
                    f"model.scope=suffix begins at the candidate's title: put {{title}} or {{candidates}} into text "
                    f"and no_history of {wording.key}, or choose model.scope=all"
                )
        layers = self.lowrank.modules() if text_lora == "fixed" else ()
        self._fixed = [layer.requires_grad_(False).eval() for layer in layers if isinstance(layer, Static)]
        widths = {key: shape.in_features for key, shape in self.lowrank.state.shapes.items()}
        self.statistics: Statistics | None = None
        if user_statistics:
            if catalogue is None:
                raise ValueError("user_statistics needs catalogue")
            self.statistics = Statistics(catalogue)
        more = WIDTH if user_statistics else 0
        dims = self.encoder.user_dim + more, self.encoder.item_dim + more
        size = sum(parameter.numel() for parameter in self.backbone.parameters())
        self.generator = generator(*dims, widths, tuned["rank"], backbone_parameters=size)
        self.vector_scale = VectorScale(input_scale, vector_noise)
        if tune_encoder:
            self.tuned_encoder = tuned_copy(self.encoder, tuned.get("untrained_encoder"))
            self.encoder_lr_factor = encoder_lr_factor

    def train(self, mode: bool = True) -> "CoRAModule":
        """Set the mode of the trained parts; fixed LoRA stays in evaluation mode."""
        super().train(mode)
        for layer in self._fixed:
            layer.eval()
        return self

    def condition(self, batch: PromptBatch, vectors: Vectors | None) -> None:
        """Generate the weights of the batch's pairs and pass them to the adapted maps.

        If a prompt shows several candidates, the pair is the user and the candidates' mean: the weights must not reveal
        which of them is right.
        """
        assert vectors is not None, "CoRA needs an encoder"
        user, items = vectors
        present = batch.items != 0
        pair = self.vector_scale(user, mean_of_present(items, present))
        if self.statistics is not None:
            own, theirs = self.statistics(batch)
            pair = torch.cat([pair[0], own], -1), torch.cat([pair[1], mean_of_present(theirs, present)], -1)
        self.lowrank.state.set(self.generator(*pair), acts_at=self.acts_at(batch))

    @property
    def weights_of_user(self) -> bool:
        """Whether the generator reads only the user, and the user's vector does not depend on the item."""
        encoder = self.encoder.second if isinstance(self.encoder, TwoFits) else self.encoder
        return self.generator.of_user and isinstance(encoder, DotProductEncoder)

    @property
    def needs_title_start(self) -> bool:
        """Whether the weights act from the title on."""
        return self.scope == "suffix"

    def acts_at(self, batch: PromptBatch) -> Tensor | None:
        """Return which of the tokens read (B, T), bool, the weights act on; None for all.

        Raises:
            ValueError: the weights act from the title on, but the batch does not include where it begins.
        """
        if self.scope == "all":
            return None
        if batch.title_start is None:
            raise ValueError("scope=suffix needs batches that say where the title begins: use self.datamodule")
        tokens = self.backbone.read_tokens(batch.input_ids.shape[1])
        places = torch.arange(tokens, device=batch.input_ids.device)
        return places >= batch.title_start[:, None]

    def calibrate(self, data: PreparedData, train: UserItems) -> None:
        """Measure the standard deviation of the vectors over the training questions, and count train rows."""
        self.vector_scale.measure(self.read_encoder, data, train)
        if self.statistics is not None:
            assert self.questions.train is not None
            self.statistics.measure(data.rows("train"), self.questions.train.versions[self.versions[0]])

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items."""
        super().grow(users, items)
        if self.statistics is not None:
            self.statistics.grow(users, items)
