"""What a method cost, as metrics.json has it (docs/metrics_json.md)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[FiniteFloat, Field(ge=0)]


class Training(BaseModel):
    """What training a method took; all zero but `frozen_parameters` where it trains nothing.

    Attributes:
        trained_parameters: how many numbers were trained.
        frozen_parameters: how many numbers of the backbone were not.
        rows: training rows.
        valid_rows: validation rows, scored at every validation.
        steps: optimiser steps.
        seconds: wall time of the fit, validations included, when it was really done.
        reused: the trained method was found in the cache.
    """

    model_config = ConfigDict(extra="forbid")

    trained_parameters: Count
    frozen_parameters: Count
    rows: Count
    valid_rows: Count
    steps: Count
    seconds: Amount
    reused: bool


class Scoring(BaseModel):
    """What scoring the test rows with the method took, when it was really done.

    Attributes:
        rows: how many rows.
        seconds: wall time, from rows to scores: prompts are built and tokenised within it.
        rows_per_second: one by the other.
    """

    model_config = ConfigDict(extra="forbid")

    rows: Count
    seconds: Amount
    rows_per_second: Amount
