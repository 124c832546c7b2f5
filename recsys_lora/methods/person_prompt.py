"""PersonPrompt: every user and every item has its own learned vector as a token of the prompt.

    soft tokens = users[user], items[item]                                  (H,) each

They are learned from the answers only, without a collaborative model. LoRA comes from an earlier stage and is frozen.
Source: the baseline of that name in CoLLM, arXiv 2310.19488, after personalised prompt learning, TOIS
2023, arXiv 2202.07371.
"""

from typing import ClassVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.table import IdTable, Unseen
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import UserItems
from recsys_lora.data.prepared import PreparedData
from recsys_lora.methods.lora import SecondStage, Tuned
from recsys_lora.methods.shared import Vectors
from recsys_lora.methods.soft_tokens import SIDES, token_std


class TokenTable(IdTable):
    """A learned token for every id; ids without a training row get a default instead of their random initial one.

    Args:
        largest: the largest id n; 0 is padding.
        hidden_size: H.
        init_std: standard deviation of the initial tokens.
        unseen: the default: `zero`, or the `mean` of the others.
    """

    def __init__(self, largest: int, hidden_size: int, init_std: float, unseen: Unseen) -> None:
        super().__init__(torch.arange(largest + 1) > 0, hidden_size, init_std, unseen, kept=True)

    def limit_to(self, ids: NDArray[np.int64]) -> None:
        """Set the ids that the training rows have; the vectors of all others become zero and stay so."""
        self.seen.zero_()
        self.seen[torch.from_numpy(np.unique(ids)).to(self.seen.device)] = True
        with torch.no_grad():
            self.weight.mul_(self.seen.unsqueeze(1))


class PersonPrompt(SecondStage):
    """A token for every user and item on one backbone.

    Args:
        catalogue: how many users and items there are.
        unseen: vector of ids without a training row in this run: `mean` of the trained vectors, or `zero`.
        tune_lora: train the low-rank updates, too.
        tuned: arguments of all recommenders with LoRA.

    Raises:
        UserError: the prompt has no soft tokens or unknown ones.
    """

    versions = ("collaborative",)
    soft_names: ClassVar[tuple[str, ...]] = SIDES
    is_personalised: ClassVar[bool] = True  # each user has a token

    def __init__(self, *, catalogue: Catalogue, unseen: Unseen, tune_lora: bool, **tuned: Unpack[Tuned]) -> None:
        super().__init__(tune_lora=tune_lora, **tuned)
        hidden_size, std = self.backbone.hidden_size, token_std(self.backbone)
        self.users = TokenTable(catalogue.num_users, hidden_size, std, unseen)
        self.items = TokenTable(catalogue.num_items, hidden_size, std, unseen)

    def soft_tokens(self, batch: PromptBatch, vectors: Vectors | None) -> Tensor:
        """Return the tokens (B, S, H) of the batch's users and candidates, in the order of the prompt."""
        tokens = torch.cat([self.users(batch.user).unsqueeze(1), self.items(batch.items)], dim=1)  # (B, 1 + C, H)
        return self.arranged(tokens, batch)

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items."""
        super().grow(users, items)
        self.users.grow(users)
        self.items.grow(items)

    def calibrate(self, data: PreparedData, train: UserItems) -> None:
        """Determine which users and items the training questions of this run have."""
        self.users.limit_to(train.user)
        self.items.limit_to(train.item)
