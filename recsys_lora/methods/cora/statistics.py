"""Statistics of a user's and an item's train rows, as additional inputs of CoRA's generator.

    for an id with n rows, k of them positive:  [logit((k + m p) / (n + m)), log(1 + n)]     m = 5, p over all rows

each standardised over the training questions. In evaluation n and k count all train rows. In training a question counts
only the rows before its own, by time and, within a second, by position in the data: its own label does not enter its
inputs. Leaving out only the question's own row would not suffice: within a user, the share of the others is then lower
for each positive than for each negative, and a model that knows the user can infer the label.
Source: ordered target statistics, Prokhorenkova et al., CatBoost, NeurIPS 2018, arXiv 1706.09516, section 3.2.

Unseen and masked ids have n = 0. The rows are those that the method trains on: with `cf.train_share`, the later part.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys_lora.cf.encoder import Catalogue
from recsys_lora.cf.table import UNKNOWN
from recsys_lora.data.batch import PromptBatch, PromptSet
from recsys_lora.data.rows import Rows
from recsys_lora.evaluation.baselines import PSEUDO_ROWS

WIDTH = 2
"""Number of statistics per user, and per item."""
_EDGE = 1e-6


class Statistics(nn.Module):
    """Counts of train rows, saved with the trained parameters.

    Args:
        catalogue: how many users and items there are.
    """

    users: Tensor
    items: Tensor
    overall: Tensor
    mean: Tensor
    std: Tensor
    train_users: Tensor
    train_items: Tensor

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__()
        # Columns: rows and positive rows of users, and of items, in all of train.
        self.register_buffer("users", torch.zeros(catalogue.num_users + 1, 2))
        self.register_buffer("items", torch.zeros(catalogue.num_items + 1, 2))
        self.register_buffer("overall", torch.full((), 0.5))
        self.register_buffer("mean", torch.zeros(2, WIDTH))  # of users, of items
        self.register_buffer("std", torch.ones(2, WIDTH))
        # The same before each training question: (n, 2) of its user, (n, C, 2) of its candidates.
        self.register_buffer("train_users", torch.zeros(0, 2), persistent=False)
        self.register_buffer("train_items", torch.zeros(0, 0, 2), persistent=False)

    def measure(self, rows: Rows, questions: PromptSet) -> None:
        """Count train rows.

        Args:
            rows: all train rows.
            questions: n training questions, each about one of these rows; its candidates may be items of other rows.

        Raises:
            ValueError: a question is about another row.
        """
        if not np.isin(questions.row, rows.row).all():
            raise ValueError("a training question is about a row that is not in train")
        positive = rows.label > 0
        for totals, ids in ((self.users, rows.user), (self.items, rows.item)):
            counts = [np.bincount(ids, weights, minlength=len(totals)) for weights in (None, positive)]
            totals.copy_(torch.from_numpy(np.stack(counts, axis=1)))
        self.overall.fill_(float(positive.mean()))
        place = np.empty(len(rows), dtype=np.int64)
        place[np.lexsort((rows.row, rows.timestamp))] = np.arange(len(rows))
        by_row = np.argsort(rows.row)
        asked = place[by_row[np.searchsorted(rows.row[by_row], questions.row)]]  # (n,)
        device = self.users.device
        users = counts_before(rows.user, place, positive, questions.user, asked)
        items = counts_before(rows.item, place, positive, questions.items, asked[:, None])
        self.train_users, self.train_items = (torch.from_numpy(found).float().to(device) for found in (users, items))
        real = torch.from_numpy(questions.items != 0).to(device)
        for side, counts_of in enumerate((self.train_users, self.train_items[real])):
            values = self.numbers(counts_of)
            self.mean[side] = values.mean(0)
            std = values.std(0, correction=0)
            self.std[side] = torch.where(std > 0, std, 1.0)

    def numbers(self, counts: Tensor) -> Tensor:
        """Return [log-odds of the smoothed share, log(1 + rows)] (..., 2) of rows and positive rows (..., 2)."""
        rows, positives = counts.unbind(-1)
        share = (positives + PSEUDO_ROWS * self.overall) / (rows + PSEUDO_ROWS)
        return torch.stack([torch.logit(share, eps=_EDGE), torch.log1p(rows)], dim=-1)

    def forward(self, batch: PromptBatch) -> tuple[Tensor, Tensor]:
        """Return the standardised statistics of the users (B, 2) and the candidates (B, C, 2) of a batch.

        In training mode the batch must be one of training questions.
        """
        if self.training:
            users, items = self.train_users[batch.index], self.train_items[batch.index]
            users = users.where((batch.user != UNKNOWN).unsqueeze(-1), 0.0)
            items = items.where((batch.items != UNKNOWN).unsqueeze(-1), 0.0)
        else:
            users, items = self.users[batch.user.clamp(min=0)], self.items[batch.items.clamp(min=0)]
        own, theirs = ((self.numbers(part) - self.mean[n]) / self.std[n] for n, part in enumerate((users, items)))
        return own, theirs

    def grow(self, users: int, items: int) -> None:
        """Make room for more users and items, which have no train rows."""
        self.users = nn.functional.pad(self.users, (0, 0, 0, users))
        self.items = nn.functional.pad(self.items, (0, 0, 0, items))


def counts_before(
    ids: NDArray[np.int64],
    place: NDArray[np.int64],
    positive: NDArray[np.bool_],
    asked: NDArray[np.int64],
    before: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return how many rows, and positive rows, an id has before a place in the order of time.

    Args:
        ids: (n,) the rows' users, or items.
        place: (n,) place of each row in the order of time, 0 to n - 1.
        positive: (n,).
        asked: (...) ids to count.
        before: places, in a shape that broadcasts with `asked`.

    Returns:
        (..., 2) rows and positive rows.
    """
    n = len(ids)
    keys = ids * n + place
    order = np.argsort(keys)
    keys, positives = keys[order], np.concatenate([[0], np.cumsum(positive[order])])
    begin, end = np.searchsorted(keys, asked * n), np.searchsorted(keys, asked * n + before)
    return np.stack([end - begin, positives[end] - positives[begin]], axis=-1).astype(np.float64)
