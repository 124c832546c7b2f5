"""The tasks' own yaml files: what they call takes what they give, and both prompts can be written."""

import pytest
from hydra.utils import instantiate

from recsys_lora.config.paths import options
from recsys_lora.llm.tiny import TinySource
from tests.jobs import resolved
from tests.tasks import world
from tests.tasks.test_prompts import made

NAMES = ("ctr", "topk", "rating", "explanation", "review_rating")
DATA = world.data(
    [(1, item, 4 + item % 2, "train") for item in range(1, 13)] + [(1, 13, 5, "valid"), (1, 14, 5, "test")],
    review=["good and bad"] * 14,
    summary=["good"] * 14,
)


CONFIGS = resolved("model=ckf")["task"]


def test_every_task_has_a_yaml():
    assert sorted(NAMES) == options("task")
    assert sorted(NAMES) == sorted(CONFIGS)


@pytest.mark.parametrize("name", NAMES)
def test_a_tasks_prompts_can_be_written_in_both_versions(name):
    task = instantiate(CONFIGS[name])(scale=world.SCALE)
    assert task.name == name
    backbone = TinySource(context=2048).load(DATA.titles[1:], "cpu")
    prompts = made(task, DATA, backbone)
    questions = task.questions(DATA, "test", 1, 0)
    text = backbone.tokenizer.decode(prompts.set(questions, "text", False).prompts[0])
    soft = prompts.set(questions, "collaborative", False)
    assert "{" not in text
    assert "<user>" not in text
    assert "Film 14" in text
    shown = task.collaborative.history_items > 0
    assert ("Film 13" in text) == shown
    assert (soft.prompts.soft_positions >= 0).all()
    assert soft.prompts.soft_positions.shape[1] == 1 + questions.items.shape[1]
