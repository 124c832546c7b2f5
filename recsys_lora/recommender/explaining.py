"""Explanations, in words, of a user's rating of an item."""

from dataclasses import replace

import numpy as np
import polars as pl

from recsys_lora.data.history import Pairs
from recsys_lora.data.live import LiveData
from recsys_lora.methods.answering import Answering
from recsys_lora.methods.candidates import pair_questions
from recsys_lora.pipeline.method import Method
from recsys_lora.tasks.examples import RATING
from recsys_lora.tasks.explanation import texts_of
from recsys_lora.tasks.task import RatingPredictions
from recsys_lora.utils.errors import UserError

_EXPLANATION = "explanation"


def explained(
    method: Method | None, data: LiveData, user: str | None, pair: Pairs, rating: float | None
) -> pl.DataFrame:
    """Return one pair's explanation; arguments as in `Recommender.explain`.

    Raises:
        UserError: the method has no such task, or the rating is outside the scale.
    """
    if method is None or _EXPLANATION not in method.datamodule.prompts:
        raise UserError("explain: the run has no task explanation: train a method with tasks=[ctr,explanation]")
    answering = Answering(method.module, method.datamodule.on(data))
    questions, scale = pair_questions(data, pair), method.datamodule.tasks[_EXPLANATION].scale
    if rating is None and RATING in method.datamodule.prompts:
        expected = answering(RATING, questions, show=False)
        assert isinstance(expected, RatingPredictions)
        rating = float(expected.argmax[0])
    rating = float(scale.high if rating is None else rating)
    if not scale.low <= rating <= scale.high:
        raise UserError(f"rating={rating:g}: the scale is {scale.low:g} to {scale.high:g}")
    told = replace(questions, texts=({RATING: scale.write(rating)},), label=np.array([rating], dtype=np.float32))
    [text] = texts_of(answering(_EXPLANATION, told, show=False))
    [item] = pair.item.tolist()
    row = {"user": user, "item": data.raw_item_ids[item], "title": data.titles[item], "rating": rating, "text": text}
    kinds = {"user": pl.String, "item": pl.String, "title": pl.String, "rating": pl.Float64, "text": pl.String}
    return pl.DataFrame([row], schema=kinds)
