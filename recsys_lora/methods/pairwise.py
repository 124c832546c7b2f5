"""A pairwise loss in addition to the pointwise one: within a user, a positive row should score above a negative one.

    L = mean over rows of BCE(s, y) + w · mean over pairs of -log sigmoid(s_pos - s_neg)

Pairs are formed of all positive and negative yes-or-no questions of one user in a batch, whatever their length groups.
AUC within users depends only on these differences, in which anything shared by all rows of a user cancels out.
Source: BPR-Opt, Rendle et al., UAI 2009, arXiv 1205.2618, section 4.1; there negatives are items without feedback.

With several processes a batch is split into consecutive parts, one per process, and pairs are those within a part: a
user whose rows are on both sides of a split has no pairs across it. The mean is over the pairs of all processes. A
batch without pairs has only the pointwise loss. Users are those of the rows, masked or not.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Pairwise:
    """The pairwise loss and its weight.

    Attributes:
        weight: w; 0 leaves the loss out.
    """

    weight: float = 0.0

    def __bool__(self) -> bool:
        return self.weight > 0

    def __call__(self, score: Tensor, user: Tensor, positive: Tensor, asked: Tensor) -> Tensor:
        """Return the sum over all pairs of -log sigmoid(s_pos - s_neg), an unweighted float32 scalar.

        Args:
            score: (B,) scores of the rows; arbitrary where not `asked`.
            user: (B,) users of the rows.
            positive: (B,) bool.
            asked: (B,) bool, which rows are yes-or-no questions.
        """
        above, below = asked & positive, asked & ~positive
        pairs = (user[:, None] == user) & above[:, None] & below  # (B, B)
        return functional.softplus(score - score[:, None]).where(pairs, 0.0).sum()
