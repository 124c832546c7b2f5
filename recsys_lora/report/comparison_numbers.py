"""The metrics in a comparison's record: means over seeds, and paired differences with their tests."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Count = Annotated[int, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Record(BaseModel):
    """A part of the record."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Number(Record):
    """A mean over seeds.

    Attributes:
        mean: mean over seeds.
        sd: standard deviation over seeds (ddof 1); null with one seed.
    """

    mean: FiniteFloat
    sd: FiniteFloat | None


class Gap(Record):
    """A paired difference and its 95 % bootstrap interval over users; null if undefined, or without draws."""

    value: FiniteFloat | None
    interval: tuple[FiniteFloat, FiniteFloat] | None


class Tested(Record):
    """A two-sided paired test over users; `p_holm` is corrected over the rows of the table."""

    statistic: FiniteFloat | None
    p: Share | None
    p_holm: Share | None
    reason: str | None


class Against(Record):
    """A row minus the baseline, each with its predictions averaged over seeds.

    Attributes:
        gaps: differences by metric.
        tested: the metric whose values per user are tested.
        users: number of users in the tests.
        t: paired t-test of these values.
        wilcoxon: signed-rank test of the same values.
    """

    gaps: dict[str, Gap]
    tested: str
    users: Count
    t: Tested
    wilcoxon: Tested


class Stacked(Record):
    """What a row adds to a stack of counts and its CF model, fitted on validation questions.

    Attributes:
        without: metrics of the stack without the row.
        included: metrics of the stack with the row.
        gaps: the second minus the first, each with its predictions averaged over seeds, by metric.
    """

    without: dict[str, Number | None]
    included: dict[str, Number | None]
    gaps: dict[str, Gap]
