"""Types with ranges. They annotate constructor arguments, and the config check reads them from there.

`rank: PositiveInt` on a constructor is all it takes for `model.rank=abc` and `model.rank=0` to be refused before any
stage runs: a value is declared once, where it is used.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Interval

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
"""For random number generators; numpy takes 32 bits."""
NonNegativeFloat = Annotated[float, Ge(0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
"""A share, both ends allowed."""
PositiveFraction = Annotated[float, Interval(gt=0, le=1)]
"""A share above zero."""
OpenFraction = Annotated[float, Interval(gt=0, lt=1)]
"""A share, neither end allowed."""
Probability = Annotated[float, Interval(ge=0, lt=1)]
"""A dropout rate; 1 would drop everything."""
