import numpy as np
import pytest

from recsys_lora.prompts.template import Template
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.selection import generator, sample
from recsys_lora.tasks.task import common_ending, letter, select
from recsys_lora.utils.errors import UserError
from tests.tasks import world


def template(text, none, *soft):
    return Template(text, none, soft_tokens=soft)


def test_the_ending_is_what_all_prompts_share():
    task = Rating(
        template("{history} {title}, well? Answer:", "a well? Answer:"),
        template("{history} <user> <item> wel? Answer:", "<user><item>. Answer:", "user", "item"),
        scale=world.SCALE,
    )
    ending = common_ending([task.text, task.collaborative], "here")
    assert ending == ". Answer:"[1:]
    assert all(one.endswith(ending) for one in (*task.text.endings, *task.collaborative.endings))


def test_prompts_that_end_differently_are_refused():
    with pytest.raises(UserError, match="task rating: its prompts end in"):
        Rating(
            template("{history} A:", "A:"),
            template("{history}<user><item> B.", "<user><item> B.", "user", "item"),
            scale=world.SCALE,
        )


@pytest.mark.parametrize("soft", [("user",), ("item",), ("item", "user")])
def test_soft_tokens_other_than_user_and_item_in_this_order_are_refused(soft):
    marks = "".join(f"<{name}>" for name in soft)
    with pytest.raises(UserError, match="the soft tokens of text are"):
        Rating(
            template("{history} A:", "A:"),
            template(f"{{history}}{marks} A:", f"{marks} A:", *soft),
            scale=world.SCALE,
        )


def test_a_text_prompt_with_soft_tokens_is_refused():
    both = template("{history}<user><item> A:", "<user><item> A:", "user", "item")
    with pytest.raises(UserError, match="the first has none"):
        Rating(both, both, scale=world.SCALE)


def test_questions_are_taken_by_places_or_masks():
    questions = Rating(**world.prompts()).questions(world.many(), "test", 5, 0)
    by_mask = questions.take(np.array([True, False, False, True, False]))
    by_place = questions.take(np.array([0, 3]))
    assert by_mask.row.tolist() == by_place.row.tolist() == questions.row[[0, 3]].tolist()
    assert len(by_mask.texts) == 2


def test_arrays_of_different_lengths_are_refused():
    one, two = np.zeros(1, dtype=np.int64), np.zeros(2, dtype=np.int64)
    with pytest.raises(ValueError, match="one entry in every array"):
        Questions(one, one, one, one, one, one[:, None], two, one.astype(np.float32), ({},))


def test_texts_are_selected_as_arrays_are():
    assert select(["a", "b", "c"], np.array([True, False, True])) == ["a", "c"]
    assert select(["a", "b", "c"], np.array([2, 0])) == ["c", "a"]


def test_samples_are_ordered_and_tasks_and_splits_draw_differently():
    assert sample(3, None, generator("ctr", "test", 0)).tolist() == [0, 1, 2]
    assert sample(3, 5, generator("ctr", "test", 0)).tolist() == [0, 1, 2]
    first = sample(1000, 10, generator("ctr", "test", 0)).tolist()
    assert first == sorted(first)
    assert first == sample(1000, 10, generator("ctr", "test", 0)).tolist()
    others = [("topk", "test", 0), ("ctr", "valid", 0), ("ctr", "test", 1)]
    assert all(first != sample(1000, 10, generator(*other)).tolist() for other in others)


def test_letters_go_on_after_z():
    letters = ["A", "J", "Z", "AA", "AB", "AZ", "BA", "AAA"]
    assert [letter(place) for place in (0, 9, 25, 26, 27, 51, 52, 702)] == letters
