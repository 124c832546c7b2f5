"""Two fits of one CF model: methods train on the vectors of the first, and are validated and tested with the second.

The first has seen the earliest train rows, so that a method trains on the rest as it will be tested: on labels that the
vectors do not know yet, and on some users and items that they do not know at all. The second has seen all train rows.
Both start from the same random values, so that their vectors lie in about the same space.
"""

from torch import Tensor

from recsys_lora.cf.encoder import CollaborativeEncoder


class TwoFits(CollaborativeEncoder):
    """The first fit in training mode, the second in evaluation mode; both stay in evaluation mode themselves.

    The mode is the module's own flag, which Lightning restores after a validation without calling `train`.

    Args:
        first: fitted on the earliest train rows.
        second: fitted on all.
    """

    def __init__(self, first: CollaborativeEncoder, second: CollaborativeEncoder) -> None:
        super().__init__()
        self.first = first
        self.second = second
        self.user_dim = second.user_dim
        self.item_dim = second.item_dim
        self.history_length = second.history_length

    @property
    def chosen(self) -> CollaborativeEncoder:
        """The fit that the current mode selects."""
        return self.first if self.training else self.second

    def train(self, mode: bool = True) -> "TwoFits":
        """Set the mode, which selects the fit."""
        self.training = mode
        return self

    def encode(self, user: Tensor, history: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Return e_u and e_i of the selected fit."""
        return self.chosen.encode(user, history, item)

    def score(self, user: Tensor, history: Tensor, item: Tensor) -> Tensor:
        """Return its logits (B,)."""
        return self.chosen.score(user, history, item)

    def score_candidates(self, user: Tensor, history: Tensor, items: Tensor) -> Tensor:
        """Return its logits (B, C)."""
        return self.chosen.score_candidates(user, history, items)
