"""Made-up answers to questions of four tasks, half of them about items that no one has in train."""

from dataclasses import replace
from functools import cache

import numpy as np

from recsys_lora.evaluation.warmth import COLD, NEITHER, WARM
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.explanation import Explanation
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.record import Answered, task_record
from recsys_lora.tasks.task import RatingPredictions
from recsys_lora.tasks.topk import TopK
from tests.tasks import world

ROWS, USERS = 120, 12
SAMPLE = np.arange(0, ROWS, 3)


def questions(target, label, width=1, answers=None) -> Questions:
    """Return ROWS questions of USERS users."""
    random = np.random.default_rng(1)
    items = np.stack([random.permutation(world.ITEMS)[:width] + 1 for _ in range(ROWS)])
    return Questions(
        row=np.arange(ROWS),
        user=np.sort(random.integers(1, USERS + 1, ROWS)),
        item=items[:, 0],
        position=np.zeros(ROWS, dtype=np.int64),
        items=items,
        target=np.asarray(target, dtype=np.int64),
        label=np.asarray(label, dtype=np.float32),
        texts=({},) * ROWS,
        answers=answers,
    )


def warmth(asked: Questions):
    """Return made-up flags: every other question is cold, and by one definition some are neither."""
    seen = np.where(np.arange(len(asked)) % 2 == 0, WARM, COLD).astype(np.int8)
    return {"seen": seen, "notebook": np.where(np.arange(len(asked)) % 5 == 0, NEITHER, seen).astype(np.int8)}


def ctr():
    random = np.random.default_rng(0)
    label = random.integers(0, 2, ROWS)
    scores = {signal: signal * label + random.normal(size=ROWS) for signal in (0.0, 0.2, 0.4, 0.6, 1.0)}
    lines = [
        Answered("ckf, users shuffled", "method_shuffled", random.normal(size=len(SAMPLE)), SAMPLE),
        Answered("ckf", "method", scores[1.0]),
        Answered("ckf, text alone", "method_text", scores[0.6]),
        Answered("frozen LLM", "frozen_llm", scores[0.0]),
        Answered("SASRec", "cf", scores[0.4]),
        Answered("popularity", "trivial", np.round(scores[0.2])),  # with ties
    ]
    return ClickThrough(**world.prompts()), questions(1 - label, label), lines


def rating():
    random = np.random.default_rng(0)
    truth = random.integers(1, 6, ROWS).astype(np.float64)
    guess = np.clip(truth + random.normal(size=ROWS), 1, 5)
    lines = [
        Answered("global_mean", "trivial", RatingPredictions(np.full(ROWS, 3.1), np.full(ROWS, 3.0))),
        Answered("ckf", "method", RatingPredictions(guess, np.round(guess))),
    ]
    return Rating(**world.prompts()), questions(truth - 1, truth), lines


def topk():
    random = np.random.default_rng(0)
    asked = replace(questions(random.integers(0, 10, ROWS), np.ones(ROWS), width=10), suffix="_of10_uniform")
    right = np.arange(10) == asked.target[:, None]
    lines = [
        Answered("random", "trivial", random.random((ROWS, 10))),
        Answered("ckf", "method", right + random.normal(size=(ROWS, 10))),
    ]
    return TopK(**world.listed()), asked, lines


def explanation():
    answers = tuple(f"{('good', 'bad')[n % 2]} film number {n % 7} of all" for n in range(ROWS))
    written = [answer.replace("film", "movie") if n % 3 else answer for n, answer in enumerate(answers)]
    lines = [
        Answered("most_common", "trivial", [answers[0]] * ROWS),
        Answered("ckf", "method", written),
    ]
    return Explanation(**world.prompts()), questions(np.full(ROWS, -1), np.full(ROWS, 5.0), answers=answers), lines


MADE = {"ctr": ctr, "rating": rating, "topk": topk, "explanation": explanation}


@cache
def block(name: str, draws: int = 30):
    """Return one task's record."""
    task, asked, lines = MADE[name]()
    return task_record(task, asked, lines, warmth(asked), "seen", draws)
