"""A pairwise loss beside the pointwise one: within a user, a positive row should score above a negative one.

    L = mean over rows of BCE(s, y) + w · mean over pairs of -log sigmoid(s_pos - s_neg)

Pairs are all positive and negative yes-or-no questions of one user in a batch, whichever groups of like lengths they
are in. AUC within users depends on such differences alone, and what all rows of a user share cancels out of them.
Source: BPR-Opt, Rendle et al., UAI 2009, arXiv 1205.2618, section 4.1; there negatives are items without feedback.

With several processes a batch is cut into consecutive parts, one a process, and pairs are those within a part: a user
whose rows stand on both sides of a cut has no pairs across it. The mean is over the pairs of all processes. A batch
without any pair has the pointwise loss alone. Users are those of the rows, masked or not.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from recsys_lora.utils.errors import UserError


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
        """Return the sum over all pairs of -log sigmoid(s_pos - s_neg), a float32 scalar, not weighted.

        Args:
            score: (B,) of rows; anything where it is not asked.
            user: (B,) of the rows.
            positive: (B,) bool.
            asked: (B,) bool, which rows are yes-or-no questions.
        """
        above, below = asked & positive, asked & ~positive
        pairs = (user[:, None] == user) & above[:, None] & below  # (B, B)
        return functional.softplus(score - score[:, None]).where(pairs, 0.0).sum()


def pairwise_of(weight: float, rows_per_user: int, batch_size: int, name: str, asks: bool) -> Pairwise:
    """Return the pairwise loss of a method.

    Args:
        weight: see `Pairwise`.
        rows_per_user: of a training batch; see `recsys_lora.data.training.TaskOrder`.
        batch_size: rows of a training batch.
        name: of the method, for messages.
        asks: whether one of its tasks is a yes-or-no question.

    Raises:
        UserError: no batch would have pairs, or a user's rows do not fit into a batch.
    """
    if weight and not asks:
        raise UserError(
            f"model.pairwise={weight}: compares yes-or-no questions, but the run of model={name} asks none: "
            "set model.pairwise=0"
        )
    if weight and rows_per_user == 1:
        raise UserError(
            f"model.pairwise={weight}: compares rows of one user in a batch: set model.rows_per_user to 2 or more"
        )
    if rows_per_user > max(1, batch_size):
        raise UserError(
            f"model.rows_per_user={rows_per_user}: a batch has {batch_size} rows: lower it, or raise model.batch_size"
        )
    return Pairwise(weight)
