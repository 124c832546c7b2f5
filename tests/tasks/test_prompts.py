import numpy as np
import polars as pl
import pytest

from recsys_lora.data.prepared import PreparedData
from recsys_lora.llm.tiny import TinySource
from recsys_lora.prompts.template import Template
from recsys_lora.tasks.ctr import ClickThrough
from recsys_lora.tasks.explanation import Explanation
from recsys_lora.tasks.prompts import Reading, TaskPrompts, Wording
from recsys_lora.tasks.rating import Rating
from recsys_lora.tasks.review_rating import ReviewRating
from recsys_lora.tasks.topk import TopK
from recsys_lora.utils.errors import UserError
from tests.tasks import world


@pytest.fixture(scope="module")
def backbone():
    return TinySource().load([world.title(item) for item in range(1, world.ITEMS + 1)], "cpu")


def made(task, data, backbone, number=2, extra=lambda prompts, questions: [{}] * len(questions), templates=None):
    templates = templates or {"text": task.text, "collaborative": task.collaborative}
    wordings = {version: Wording(template, f"task.{task.name}") for version, template in templates.items()}
    reading = Reading.of(task, wordings, backbone)
    return TaskPrompts(data, task, number, reading, backbone, world.WORDS, 4, extra)


def texts(backbone, prompts):
    return [backbone.tokenizer.decode(prompts.prompts[index].tolist()) for index in range(len(prompts))]


def test_a_prompt_shows_the_users_own_earlier_positives_and_no_later_ones(backbone):
    data, task = world.many(), Rating(**world.prompts(item="{title}={rating}"))
    questions = task.questions(data, "train", None, 0)
    prompts = made(task, data, backbone).set(questions, "text", True)
    table = data.interactions.to_dicts()
    for row, text in zip(questions.row.tolist(), texts(backbone, prompts), strict=True):
        earlier = [r for r in table[:row] if r["user"] == table[row]["user"] and r["label"]][-3:]
        shown = ", ".join(f"{world.title(r['item'])}={r['rating']:g}" for r in earlier)
        start = f"Liked {shown}." if earlier else "None."
        assert text == f"{start} {world.title(table[row]['item'])}? #Answer:"


def test_attributes_of_items_and_users_fill_slots(backbone):
    base = world.many()
    items = base.items.with_columns(
        category=pl.concat_str(pl.lit("Kind|"), pl.col("item").cast(pl.String)), movie=pl.lit("no word of the data set")
    )
    users = base.users.with_columns(age=pl.col("user") + 20)
    data = PreparedData(base.folder, base.manifest, base.interactions, items, users)
    wording = {"text": "At {age}, of {history}: {title} ({category}), {item}?", "no_history": "{category}, {item}?"}
    template = Template(**wording, item="{title} [{category}]", history_items=2)
    task = Rating(**world.prompts())
    questions = task.questions(data, "test", 3, 0)
    prompts = made(task, data, backbone, templates={"text": template}).set(questions)
    table = data.interactions.to_dicts()
    for row, text in zip(questions.row.tolist(), texts(backbone, prompts), strict=True):
        user, item = table[row]["user"], table[row]["item"]
        earlier = [r["item"] for r in table[:row] if r["user"] == user and r["label"]][-2:]
        shown = ", ".join(f"{world.title(number)} [Kind, {number}]" for number in earlier)
        assert text == f"At {20 + user}, of {shown}: {world.title(item)} (Kind, {item}), movie?"
    assert template.is_text([*world.WORDS, *data.item_attributes, *data.user_attributes])
    assert not template.is_text(world.WORDS)


def test_a_slot_that_nothing_fills_says_what_could(backbone):
    template = Template("{history} {colour} {title}?", "{title}?")
    task = Rating(**world.prompts())
    questions = task.questions(world.many(), "test", 3, 0)
    with pytest.raises(UserError, match=r"nothing fills the slot \{colour\}: use .*history, item, items, .*title"):
        made(task, world.many(), backbone, templates={"text": template}).set(questions)


def test_the_encoder_reads_the_same_users_history(backbone):
    data, task = world.many(), Rating(**world.prompts())
    questions = task.questions(data, "test", None, 0)
    prompts = made(task, data, backbone).set(questions, "collaborative", False)
    assert np.array_equal(prompts.history, data.history.last(questions.user, questions.position, 4))
    assert np.array_equal(prompts.row, questions.row)
    assert prompts.task.tolist() == [2] * len(questions)
    assert prompts.answer_tokens.tolist() == [0] * len(questions)


def test_both_versions_ask_the_same_and_only_one_has_soft_tokens(backbone):
    data, task = world.many(), ClickThrough(**world.prompts())
    prompts, questions = made(task, data, backbone), task.questions(data, "test", 4, 0)
    text = prompts.set(questions, "text", True)
    soft = prompts.set(questions, "collaborative", True)
    assert text.prompts.soft_positions.shape == (4, 0)
    assert soft.prompts.soft_positions.shape == (4, 2)
    assert prompts.reading.choices.pieces == ["ĠYes", "ĠNo"]
    assert all(one.endswith("#Answer:") for one in texts(backbone, text) + texts(backbone, soft))


def test_candidates_are_listed_in_order_each_with_its_own_soft_token(backbone):
    data, task = world.many(), TopK(**world.listed(), candidates=4, cutoffs=[1])
    prompts, questions = made(task, data, backbone), task.questions(data, "test", 3, 0)
    text = texts(backbone, prompts.set(questions, "text", False))
    soft = prompts.set(questions, "collaborative", False)
    for items, one in zip(questions.items.tolist(), text, strict=True):
        shown = "; ".join(f"{letter}) {world.title(item)}" for letter, item in zip("ABCD", items, strict=True))
        assert f"Of {shown}?" in one
    assert (soft.prompts.soft_positions >= 0).sum(axis=1).tolist() == [5] * 3
    assert np.array_equal(soft.items, questions.items)


def test_the_answer_among_candidates_is_the_right_title_and_the_end(backbone):
    data, task = world.many(), TopK(**world.listed(), candidates=4, cutoffs=[1])
    prompts, questions = made(task, data, backbone), task.questions(data, "test", 5, 0)
    bare = prompts.set(questions, "text", False)
    full = prompts.set(questions, "text", True)
    continuations = prompts.continuations(questions)
    for index in range(5):
        answer = full.prompts[index][-full.answer_tokens[index] :].tolist()
        assert answer == continuations[index][questions.target[index]]
        assert full.prompts[index].tolist() == bare.prompts[index].tolist() + answer
        title = world.title(int(questions.item[index]))
        assert backbone.tokenizer.decode(answer) == f" {title}{backbone.tokenizer.eos_token}"
        # The pieces are those of the whole text.
        whole = backbone.tokenizer(texts(backbone, full)[index], add_special_tokens=False)["input_ids"]
        assert whole == full.prompts[index].tolist()


def test_titles_may_go_without_an_end(backbone):
    data, task = world.many(), TopK(**world.listed(), candidates=4, cutoffs=[1], end_token=False)
    questions = task.questions(data, "test", 1, 0)
    [[first, *_]] = made(task, data, backbone).continuations(questions)
    assert backbone.tokenizer.decode(first) == f" {world.title(int(questions.items[0, 0]))}"


def test_padding_among_candidates_has_no_continuation(backbone):
    data, task = world.many(), TopK(**world.listed(), candidates=4, cutoffs=[1])
    questions = task.questions(data, "test", 1, 0)
    questions.items[0] = [3, 5, 0, 0]
    assert len(made(task, data, backbone).continuations(questions)[0]) == 2


def test_an_item_without_a_title_is_named_unknown(backbone):
    titles = [None, *(world.title(item) for item in range(2, world.ITEMS + 1))]
    data = world.data([(1, 2, 5, "train"), (1, 1, 5, "test")], titles=titles)
    task = TopK(**world.listed(), candidates=4, cutoffs=[1])
    questions = task.questions(data, "test", None, 0)
    prompts = made(task, data, backbone).set(questions, "text", True)
    assert texts(backbone, prompts)[0].endswith(" unknown movie</s>")


def test_option_letters_are_choices(backbone):
    data, task = world.many(), TopK(**world.listed(), candidates=4, cutoffs=[1], scoring="option_letter")
    prompts = made(task, data, backbone)
    assert prompts.reading.choices.pieces == ["ĠA", "ĠB", "ĠC", "ĠD"]
    questions = task.questions(data, "test", None, 0)
    assert not prompts.set(questions, "text", True).answer_tokens.any()


REVIEWS = {"summary": ['A "good" </s> one', "word " * 80], "review": ["good " * 400, "short"]}
ROWS = [(1, 1, 5, "train"), (1, 2, 2, "test")]


def test_a_text_answer_ends_in_the_end_token_and_keeps_to_its_length(backbone):
    data = world.data(ROWS, **REVIEWS)
    task = Explanation(**world.prompts("{title} {rating}?"), words=80, answer_tokens=12)
    for split in ("train", "test"):
        questions = task.questions(data, split, None, 0)
        prompts = made(task, data, backbone).set(questions, "text", True)
        answer = prompts.prompts[0][-prompts.answer_tokens[0] :].tolist()
        assert len(answer) <= 12
        assert answer.count(backbone.tokenizer.eos_token_id) == 1  # the end, and none from the review itself
        assert answer[-1] == backbone.tokenizer.eos_token_id


def test_a_long_review_is_cut_and_the_question_never(backbone):
    data, small = world.data(ROWS, **REVIEWS), TinySource(context=100).load([world.title(1)], "cpu")
    task = ReviewRating(**world.prompts("{title}, {review} Stars?"), words=400)
    questions = task.questions(data, "train", None, 0)
    prompts = made(task, data, small).set(questions, "collaborative", True)
    assert prompts.prompts.lengths[0] <= 100
    [text] = texts(small, prompts)
    assert "Film 1, good good" in text
    assert text.endswith(" Stars? <pad> #Answer:")
    assert prompts.prompts.counts == {"prompts with a cut text": 1}


def test_an_answer_leaves_room_for_itself(backbone):
    data, small = world.many(), TinySource(context=120).load([world.title(1)], "cpu")
    task = Explanation(**world.prompts("{title} {rating}?", history_items=50), answer_tokens=40)
    data = world.data([(1, item, 5, "train") for item in range(1, 39)], summary=["word " * 90] * 38)
    questions = task.questions(data, "train", None, 0)
    prompts = made(task, data, small).set(questions, "text", True)
    assert prompts.prompts.lengths.max() <= 120
    assert prompts.answer_tokens.max() == 40


def test_data_without_titles_are_refused(backbone):
    data = world.data(ROWS, titles=[None] * world.ITEMS)
    with pytest.raises(UserError, match="data=small has no titles"):
        made(Rating(**world.prompts()), data, backbone)


def test_a_method_may_add_slots_of_the_prompt_and_of_each_candidate(backbone):
    data, task = world.many(), TopK(**world.listed(), candidates=3, cutoffs=[1])
    template = Template("{code}: {history} {candidates}.", "{code}: {candidates}.", candidate="{title}={code}")

    def extra(prompts, questions):
        return [
            {"code": [f"{user}/{item}" for item in items]}
            for user, items in zip(questions.user, questions.items, strict=True)
        ]

    questions = task.questions(data, "test", 2, 0)
    prompts = made(task, data, backbone, extra=extra, templates={"text": template})
    written = texts(backbone, prompts.set(questions))
    for text, user, items in zip(written, questions.user, questions.items, strict=True):
        assert text.startswith(f"{user}/{items[0]}: ")
        assert all(f"{world.title(item)}={user}/{item}" in text for item in items)


def test_the_encoder_may_be_shown_other_users_while_the_text_stays(backbone):
    data, task = world.many(), ClickThrough(**world.prompts())
    questions = task.questions(data, "test", None, 0)
    others, prompts = questions.of_other_users(3), made(task, data, backbone)
    own, shown = prompts.set(questions), prompts.set(questions, encoder_rows=others)
    assert np.array_equal(own.prompts.ids, shown.prompts.ids)
    assert np.array_equal(shown.user, others.user)
    assert (shown.user != own.user).all()
    assert np.array_equal(shown.history, data.history.last(others.user, others.position, 4))
    assert np.array_equal(shown.items, own.items)


def test_changed_titles_are_counted_in_the_log(backbone, caplog):
    titles = ['A "quoted" one', "two\nlines", None, "x" * 2000, *(world.title(n) for n in range(5, world.ITEMS + 1))]
    task = ClickThrough(**world.prompts())
    with caplog.at_level("INFO"):
        made(task, world.data([(1, 1, 5, "train")], titles=titles), backbone)
    for reason in ("double quotes: 1 of 40", "line breaks or control characters: 1", "missing: 1", "truncated: 1"):
        assert reason in caplog.text


def test_right_answers_are_the_words_of_the_choice():
    data = world.data([(1, 1, 5, "train"), (1, 2, 2, "train")])
    backbone = TinySource().load([world.title(1)], "cpu")
    for task, expected in ((ClickThrough(**world.prompts()), ["Yes", "No"]), (Rating(**world.prompts()), ["5", "2"])):
        questions = task.questions(data, "train", None, 0)
        assert made(task, data, backbone).right_answers(questions) == expected


def test_a_history_of_all_rated_items_shows_the_low_ratings_too(backbone):
    data = world.many()
    task = Rating(**world.prompts(item="{title}={rating}", history="rated"))
    questions = task.questions(data, "test", None, 0)
    prompts = made(task, data, backbone).set(questions, "text")
    table = data.interactions.to_dicts()
    shown = ("5", "4", "1", "5", "2", "4", "5")
    for row, text in zip(questions.row.tolist(), texts(backbone, prompts), strict=True):
        earlier = table[row - 3 : row]
        written = ", ".join(f"{world.title(r['item'])}={r['rating']:g}" for r in earlier)
        assert text.startswith(f"Liked {written}.")
        assert [f"{r['rating']:g}" for r in table[row - 7 : row]] == list(shown)


def test_items_that_were_sampled_beside_positives_are_in_no_history(backbone):
    data = world.many()
    data.manifest["negatives"] = {"train": 1, "test": 1, "seed": 0}
    rated, liked = (Rating(**world.prompts(history=kind)) for kind in ("rated", "liked"))
    shown = []
    for task in (rated, liked):
        questions = task.questions(data, "test", None, 0)
        shown.append(texts(backbone, made(task, data, backbone).set(questions, "text")))
    assert shown[0] == shown[1]


def test_prompts_on_other_histories_show_those(backbone):
    data, task = world.many(), Rating(**world.prompts(history="rated"))
    questions = task.questions(data, "test", 1, 0)
    prompts = made(task, data, backbone)
    rows = [(1, item, 5, "train") for item in (31, 32)] + [(1, 33, 1, "train")]
    other = world.data([*rows, *((user, 1, 4, "test") for user in range(1, 31))])
    moved = task.questions(other, "test", None, 0).take(np.array([0]))
    assert "Film 31, Film 32, Film 33." in texts(backbone, prompts.on(other).set(moved, "text"))[0]
    assert "Film 31" not in texts(backbone, prompts.set(questions, "text"))[0]
