"""CKF's personalised mapping: collaborative vectors become soft tokens, each user's through its own matrix.

    p_u  = pool(e_v of the user's history)                     (D,)
    W_u  = reshape(MLP(p_u))                                   (D, D)
    e_u' = e_u W_u
    user token = M_U e_u',   item token = M_V e_v              (H,)

Source: CKF, TKDE 2025, arXiv 2410.20642, and the authors' public code for the widths. In that code the MLP has no
non-linearity, and histories include the row's own future; here it has one, and only earlier items are used.

Initialisation: the last layer's bias makes every W_u the identity plus a small part from the history, and M_U and M_V
give tokens with the standard deviation of the backbone's embeddings, within the range that the language model knows.
The authors use PyTorch's default initialisation (`start=pytorch`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from recsys_lora.methods.vectors import mean_of_present
from recsys_lora.utils.types import PositiveInt

Bridge = Literal["meta", "shared", "low_rank", "none"]
Pooling = Literal["mean", "attention"]
Start = Literal["tokens", "pytorch"]
Activation = Literal["relu", "gelu", "tanh", "none"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "none": nn.Identity}


class AttentionPooling(nn.Module):
    """Self-attention among a history's items, an MLP, and the mean: a variant that CKF's code defines but never uses.

    Args:
        dim: D.
        hidden: widths of the MLP's hidden layers, each followed by ReLU.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (32, 64)) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        layers: list[nn.Module] = []
        for before, after in pairwise([dim, *hidden]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear([dim, *hidden][-1], dim))

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return p_u (B, D) from vectors (B, L, D); see `mean_of_present`."""
        # Padding attends to itself, so that no row of weights is empty; the mean ignores it.
        own = torch.eye(vectors.shape[1], dtype=torch.bool, device=vectors.device)
        seen = present.unsqueeze(1) | own  # (B, L, L)
        mixed = functional.scaled_dot_product_attention(
            self.query(vectors), self.key(vectors), self.value(vectors), attn_mask=seen
        )
        return mean_of_present(self.mlp(mixed), present)


class MetaOptions(TypedDict, total=False):
    """How a history becomes its user's matrix.

    Attributes:
        bridge_rank: columns of L_u and R_u of the bridge `low_rank`.
        pooling: `mean` of the history's vectors, or `attention` among them first.
        hidden: widths of the MLP's hidden layers.
        attention_hidden: widths of the hidden layers after the attention.
        activation: after every hidden layer; `none` leaves the network linear.
        start: initialisation: `tokens` as described in the module docstring, `pytorch` for PyTorch's default.
    """

    bridge_rank: PositiveInt
    pooling: Pooling
    hidden: Sequence[PositiveInt]
    attention_hidden: Sequence[PositiveInt]
    activation: Activation
    start: Start


class MetaNetwork(nn.Module):
    """Generates the matrix that maps a user's vector; the other arguments are those of `MetaOptions`.

    Args:
        dim: D.
        bridge: `meta` generates all of W_u; `low_rank` generates W_u = I + L_u R_u^T, with far fewer outputs for large
            D; `shared` learns one W for all users.
    """

    def __init__(
        self,
        dim: int,
        *,
        bridge: Literal["meta", "shared", "low_rank"] = "meta",
        bridge_rank: int = 8,
        pooling: Pooling = "mean",
        hidden: Sequence[int] = (32,),
        attention_hidden: Sequence[int] = (32, 64),
        activation: Activation = "relu",
        start: Start = "tokens",
    ) -> None:
        super().__init__()
        self.dim = dim
        self.bridge = bridge
        self.rank = bridge_rank
        self.pool: AttentionPooling | None = None
        if bridge == "shared":
            self.shared = nn.Parameter(torch.eye(dim))
            return
        if pooling == "attention":
            self.pool = AttentionPooling(dim, attention_hidden)
        self.no_history = nn.Parameter(torch.zeros(dim))
        layers: list[nn.Module] = []
        for before, after in pairwise([dim, *hidden]):
            layers += [nn.Linear(before, after), _ACTIVATIONS[activation]()]
        self.body = nn.Sequential(*layers)
        width = [dim, *hidden][-1]
        self.head = nn.Linear(width, dim * dim if bridge == "meta" else 2 * dim * bridge_rank)
        if start == "tokens":
            self._start_at_identity(width)

    def _start_at_identity(self, width: int) -> None:
        nn.init.normal_(self.head.weight, std=(width * self.dim) ** -0.5)
        with torch.no_grad():
            if self.bridge == "meta":
                self.head.bias.copy_(torch.eye(self.dim).flatten())
            else:
                self.head.bias.normal_(std=self.dim**-0.5)
                self.head.bias[: self.dim * self.rank].zero_()  # of L_u, so that L_u R_u^T is small

    def pooled(self, history: Tensor, present: Tensor) -> Tensor:
        """Return p_u (B, D); a user without history gets a learned default.

        Args:
            history: vectors of earlier items (B, L, D).
            present: which of them are items, not padding (B, L) bool.
        """
        pool = self.pool or mean_of_present
        return torch.where(present.any(1, keepdim=True), pool(history, present), self.no_history)

    def matrices(self, history: Tensor, present: Tensor) -> Tensor:
        """Return every user's W_u (B, D, D); see `pooled` for the arguments."""
        if self.bridge == "shared":
            return self.shared.expand(len(history), -1, -1)
        made: Tensor = self.head(self.body(self.pooled(history, present)))  # (B, D·D) or (B, 2·D·R)
        if self.bridge == "meta":
            return made.view(-1, self.dim, self.dim)
        left, right = made.view(-1, 2, self.dim, self.rank).unbind(1)  # (B, D, R) each
        return torch.eye(self.dim, device=made.device, dtype=made.dtype) + left @ right.mT


@dataclass(frozen=True)
class MappingSpec:
    """The encoder and the backbone that the mapping connects.

    Attributes:
        user_dim: width of the encoder's e_u.
        item_dim: width of its e_i.
        hidden_size: H, width of the backbone's embeddings.
        token_std: standard deviation of their entries.
    """

    user_dim: int
    item_dim: int
    hidden_size: int
    token_std: float


class CollaborativeMapping(nn.Module):
    """Computes a prompt's soft tokens: the user's, then one per candidate.

    Args:
        spec: widths and scale of inputs and outputs.
        dim: D, the mapping's width; None for the encoder's own. A linear map adapts vectors of another width.
        bridge: how e_u becomes e_u': see `MetaNetwork`; `none` leaves it as it is.
        personalised_items: map the candidates' vectors with W_u, too.
        meta: see `MetaOptions`.
    """

    def __init__(
        self,
        spec: MappingSpec,
        *,
        dim: PositiveInt | None = None,
        bridge: Bridge = "meta",
        personalised_items: bool = False,
        **meta: Unpack[MetaOptions],
    ) -> None:
        super().__init__()
        dim = dim or spec.user_dim
        self.adapt_user = _adapter(spec.user_dim, dim)
        self.adapt_item = _adapter(spec.item_dim, dim)
        self.meta: MetaNetwork | None = None
        if bridge != "none":
            self.meta = MetaNetwork(dim, bridge=bridge, **meta)
        self.personalised_items = personalised_items
        self.user_token = nn.Linear(dim, spec.hidden_size)
        self.item_token = nn.Linear(dim, spec.hidden_size)
        if meta.get("start", "tokens") == "tokens":
            for layer in (self.user_token, self.item_token):  # for inputs of standard deviation 1
                nn.init.normal_(layer.weight, std=spec.token_std / dim**0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, user: Tensor, items: Tensor, history: Tensor, present: Tensor) -> Tensor:
        """Return the soft tokens of a batch.

        Args:
            user: e_u (B, D_u).
            items: e_i of the candidates (B, C, D_i).
            history: e_i of earlier items (B, L, D_i).
            present: which of these are items, not padding (B, L) bool.

        Returns:
            (B, 1 + C, H): the user's token first.
        """
        user = self.adapt_user(user).unsqueeze(1)  # (B, 1, D)
        items = self.adapt_item(items)  # (B, C, D)
        if self.meta is not None:
            matrices = self.meta.matrices(self.adapt_item(history), present)  # (B, D, D)
            user = torch.bmm(user, matrices)
            items = torch.bmm(items, matrices) if self.personalised_items else items
        return torch.cat([self.user_token(user), self.item_token(items)], dim=1)


def _adapter(width: int, dim: int) -> nn.Module:
    """Return a map from an encoder's width to D that keeps the standard deviation; the identity if they are equal."""
    if width == dim:
        return nn.Identity()
    layer = nn.Linear(width, dim, bias=False)
    nn.init.normal_(layer.weight, std=width**-0.5)
    return layer
