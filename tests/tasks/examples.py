"""Made-up answers to questions of four tasks, half of them about items that no one has in train."""

from dataclasses import replace
from functools import cache

import numpy as np

from recsys_lora.evaluation.warm_cold import COLD, NEITHER, WARM
from recsys_lora.tasks.ctr import ClickThrough, of_rows
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
        timestamp=np.zeros(ROWS, dtype=np.int64),
        items=items,
        target=np.asarray(target, dtype=np.int64),
        label=np.asarray(label, dtype=np.float32),
        texts=({},) * ROWS,
        answers=answers,
    )


def warm(asked: Questions):
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
        Answered("popularity", "baseline", np.round(scores[0.2])),  # with ties
    ]
    return ClickThrough(**world.prompts()), questions(1 - label, label), lines


def rating():
    random = np.random.default_rng(0)
    truth = random.integers(1, 6, ROWS).astype(np.float64)
    guess = np.clip(truth + random.normal(size=ROWS), 1, 5)
    lines = [
        Answered("global_mean", "baseline", RatingPredictions(np.full(ROWS, 3.1), np.full(ROWS, 3.0))),
        Answered("ckf", "method", RatingPredictions(guess, np.round(guess))),
    ]
    return Rating(**world.prompts()), questions(truth - 1, truth), lines


def topk():
    random = np.random.default_rng(0)
    asked = replace(questions(random.integers(0, 10, ROWS), np.ones(ROWS), width=10), suffix="_of10_uniform")
    right = np.arange(10) == asked.target[:, None]
    lines = [
        Answered("random", "baseline", random.random((ROWS, 10))),
        Answered("ckf", "method", right + random.normal(size=(ROWS, 10))),
    ]
    return TopK(**world.listed()), asked, lines


def explanation():
    answers = tuple(f"{('good', 'bad')[n % 2]} film number {n % 7} of all" for n in range(ROWS))
    written = [answer.replace("film", "movie") if n % 3 else answer for n, answer in enumerate(answers)]
    lines = [
        Answered("most_common", "baseline", [answers[0]] * ROWS),
        Answered("ckf", "method", written),
    ]
    return Explanation(**world.prompts()), questions(np.full(ROWS, -1), np.full(ROWS, 5.0), answers=answers), lines


TASKS = {
    "ctr": ClickThrough(**world.prompts()),
    "topk": TopK(**world.listed()),
    "rating": Rating(**world.prompts()),
    "explanation": Explanation(**world.prompts()),
}


def questions_of(data, rows):
    """Return made-up questions of three tasks about a data set's users and items, several a user."""
    random = np.random.default_rng(0)
    every = data.rows("train")
    asked = every.take(np.sort(random.integers(0, len(every), rows)))
    label = random.integers(0, 2, rows).astype(np.float32)
    asked = replace(asked, row=1000 + np.arange(rows), label=label)
    width = random.permuted(np.tile(np.arange(1, world.ITEMS + 1), (rows, 1)), axis=1)[:, :10]
    return {
        "ctr": of_rows(asked),
        "topk": replace(Questions.of(asked, random.integers(0, 10, rows), label), items=width, suffix="_of10_uniform"),
        "rating": Questions.of(asked, asked.rating - 1, asked.rating),
        "explanation": Questions.of(asked, np.full(rows, -1), label, answers=("good film",) * rows),
    }


def guessed(name, asked, seed):
    """Return made-up predictions of questions."""
    random = np.random.default_rng(seed)
    if name == "topk":
        return random.normal(size=asked.items.shape) + (np.arange(10) == asked.target[:, None])
    if name == "rating":
        guess = np.clip(asked.label + random.normal(size=len(asked)), 1, 5)
        return RatingPredictions(guess, np.round(guess))
    return ["good" if place % (seed + 1) else "bad film" for place in range(len(asked))]


MADE = {"ctr": ctr, "rating": rating, "topk": topk, "explanation": explanation}


@cache
def block(name: str, draws: int = 30):
    """Return one task's record."""
    task, asked, lines = MADE[name]()
    return task_record(task, asked, lines, warm(asked), "seen", draws)
