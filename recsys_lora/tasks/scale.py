"""The rating scale that a data set declares, and how ratings are written and asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted


@dataclass(frozen=True)
class RatingScale:
    """The ratings of a data set, `data.rating_scale`.

    Attributes:
        low: the lowest.
        high: the highest.
        step: between two neighbours.
    """

    low: float
    high: float
    step: float

    @property
    def values(self) -> NDArray[np.float64]:
        """The ratings that a model can answer (K,): the whole numbers of the scale.

        Half stars lie in between: their answer is the nearest whole number, and an expected value can express them.

        Raises:
            UserError: there are fewer than two.
        """
        whole = np.arange(np.ceil(self.low), np.floor(self.high) + 1)
        if len(whole) < 2:
            raise UserError(f"data.rating_scale: from {self.low} to {self.high} are no two whole numbers to answer")
        return whole

    @property
    def choices(self) -> tuple[str, ...]:
        """The same values, as text."""
        return tuple(self.write(value) for value in self.values)

    @property
    def words(self) -> dict[str, str]:
        """The slots `{lowest}` and `{highest}` of prompts: the lowest and highest possible answer."""
        return {"lowest": self.choices[0], "highest": self.choices[-1]}

    @staticmethod
    def write(rating: float) -> str:
        """Return a rating as text: 4, or 3.5."""
        return f"{float(rating):g}"

    def nearest(self, rating: NDArray[Any]) -> NDArray[np.int64]:
        """Return the index (n,) of the choice nearest to each rating (n,), the upper one in a tie.

        Raises:
            UserError: a rating lies outside of the scale.
        """
        rating = np.asarray(rating, dtype=np.float64)
        outside = rating[(rating < self.low) | (rating > self.high)]
        if len(outside):
            raise UserError(
                f"data.rating_scale: {counted(len(outside), 'rating')} outside of {self.low:g} to {self.high:g}, "
                f"the first is {outside[0]:g}: set low and high to what the data set has"
            )
        place = np.floor(rating + 0.5) - self.values[0]
        return np.asarray(np.clip(place, 0, len(self.values) - 1), dtype=np.int64)
