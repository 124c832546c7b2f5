"""In-context learning shows the rows it should, with their answers, and never the one that is asked."""

import numpy as np
import pytest

from recsys_lora.methods.icl import InContext
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.ctr import of_rows
from recsys_lora.tasks.rating import Rating
from tests.methods import factory
from tests.methods.asking import score_rows
from tests.methods.synthetic import WORDS, prepared
from tests.tasks import world

SOLVED = Template("Liked {history}. {title}?", "{title}?", item="{title}", history_items=1)


@pytest.fixture(scope="module")
def data():
    return prepared(users=12, items=30, rows_each=12, dim=4, titles=[f"Film {n}" for n in range(1, 31)])[0]


def method(data, **knobs):
    prompt = Template("{examples}Liked {history}. {title}? Answer:", "{examples}{title}? Answer:", item="{title}")
    settings = {
        "name": "icl",
        "tasks": factory.asked(),
        "score": "yes",
        "prompt": prompt,
        "example": SOLVED,
        "examples": 3,
        "source": "user",
    }
    return InContext(**{**settings, "draw_seed": 0, "backbone": factory.backbone(data), **knobs})


def shown(data, rows, **knobs):
    module = method(data, **knobs)
    prompts = module.datamodule(data, WORDS, seed=0).prompts["ctr"]
    return [slots["examples"] for slots in module.extra_slots(prompts, of_rows(rows))]


def expected(data, row):
    """Return a solved question as one writes it by hand."""
    earlier = [data.titles[r.item] for r in naive(data) if r.user == row.user and r.row < row.row and r.label > 0]
    question = f"Liked {earlier[-1]}. {data.titles[row.item]}?" if earlier else f"{data.titles[row.item]}?"
    return f"{question} {'Yes' if row.label > 0 else 'No'}\n"


def naive(data):
    """Return all rows, one by one."""
    every = data.interactions.with_row_index("row").to_dicts()
    return [type("Row", (), row)() for row in every]


def test_a_users_own_latest_training_rows_are_shown_with_their_answers(data):
    rows = data.rows("test")
    for index, text in enumerate(shown(data, rows)):
        own = [r for r in naive(data) if r.user == rows.user[index] and r.split == "train"]
        assert text == "".join(expected(data, r) for r in own[-3:])


def test_a_training_row_is_never_its_own_example(data):
    rows = data.rows("train").take(np.arange(8))
    mine = [r for r in naive(data) if r.user == 1 and r.split == "train"]
    for index, text in enumerate(shown(data, rows)):
        assert text == "".join(expected(data, r) for r in mine[max(0, index - 3) : index])


def test_rows_of_others_are_balanced_and_not_of_the_user(data):
    rows = data.rows("test").take(np.arange(10))
    texts = shown(data, rows, source="others", examples=4)
    training = [r for r in naive(data) if r.split == "train"]
    for index, text in enumerate(texts):
        lines = text.splitlines(keepends=True)
        assert sorted(line.rpartition("? ")[2] for line in lines) == ["No\n", "No\n", "Yes\n", "Yes\n"]
        allowed = {expected(data, r) for r in training if r.user != rows.user[index]}
        assert set(lines) <= allowed
    assert len(set(texts)) > 1


def test_the_draw_is_a_rows_own(data):
    rows = data.rows("test").take(np.arange(6))
    whole = shown(data, rows, source="others")
    assert shown(data, rows.take(np.array([4, 2])), source="others") == [whole[4], whole[2]]
    assert shown(data, rows, source="others", draw_seed=1) != whole


def test_the_examples_reach_the_model(data):
    rows = data.rows("test")
    scores = []
    for examples in (1, 3):
        module = method(data, examples=examples)
        datamodule = module.datamodule(data, WORDS, seed=0)
        scores.append(score_rows(module, datamodule, rows, show=False))
    assert np.abs(scores[0] - scores[1]).max() > 1e-4


def test_other_tasks_are_solved_in_their_own_words(data):
    tasks = {"rating": Rating(**world.prompts(item="{title}"))}
    module = method(data, tasks=tasks)
    prompts = module.datamodule(data, WORDS, seed=0).prompts["rating"]
    asked = tasks["rating"].questions(data, "test", 4, 0)
    for slots, text, user in zip(
        module.extra_slots(prompts, asked),
        (module.backbone.tokenizer.decode(prompts.set(asked).prompts[n].tolist()) for n in range(4)),
        asked.user,
        strict=True,
    ):
        mine = [r for r in naive(data) if r.user == user and r.split == "train"][-3:]
        solved = [line.rpartition(" ") for line in slots["examples"].splitlines()]
        assert [line[2] for line in solved] == [f"{r.rating:g}" for r in mine]
        assert all(f"{data.titles[r.item]}? #Answer:" in line[0] for r, line in zip(mine, solved, strict=True))
        assert text.startswith(slots["examples"].splitlines()[0])
        assert text.endswith("#Answer:")
