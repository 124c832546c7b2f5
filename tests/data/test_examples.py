import numpy as np
import pytest

from recsys_lora.data.examples import PromptBuilder
from recsys_lora.errors import UserError
from recsys_lora.llm.tiny import train_tokenizer
from recsys_lora.prompts.encode import Encoder
from recsys_lora.prompts.template import Template
from tests.methods.synthetic import WORDS, prepared

TITLES = [f"Film {number}" for number in range(1, 31)]


@pytest.fixture(scope="module")
def data():
    return prepared(users=12, items=30, rows_each=12, dim=2, titles=TITLES)[0]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TITLES, 500)


def builder(data, tokenizer, template=None, **more):
    template = template or Template("{items}: {history}; {title}:", "none; {title}:", history_items=4)
    return PromptBuilder(data, template, Encoder(tokenizer, WORDS, 500), **more)


def test_prompts_tell_each_rows_own_history_and_candidate(data, tokenizer):
    rows = data.rows("test")
    prompts = builder(data, tokenizer, history_length=3)(rows, show=False)
    table = data.interactions
    for index in range(len(rows)):
        earlier = table.filter(
            (table["user"] == rows.user[index]) & (table["label"] == 1) & (table["timestamp"] < rows.timestamp[index])
        )["item"].to_list()
        shown = ", ".join(f'"{data.titles[item]}"' for item in earlier[-4:])
        start = f"movies: {shown}" if shown else "none"
        assert tokenizer.decode(prompts.prompts[index].tolist()) == f"{start}; {data.titles[rows.item[index]]}:"
        assert [item for item in prompts.history[index] if item] == earlier[-3:]
    np.testing.assert_array_equal(prompts.user, rows.user)
    np.testing.assert_array_equal(prompts.label, rows.label)
    np.testing.assert_array_equal(prompts.row, rows.row)


def test_a_row_without_history_says_so(data, tokenizer):
    rows = data.rows("train")
    first = rows.take(np.flatnonzero(rows.position == 0)[:1])
    prompts = builder(data, tokenizer)(first, show=False)
    assert tokenizer.decode(prompts.prompts[0].tolist()).startswith("none; ")
    assert prompts.history.shape == (1, 0)


def test_a_method_may_add_slots(data, tokenizer):
    template = Template("{code}: {history} {title}", "{code}: {title}")
    made = builder(data, tokenizer, template, more_texts=lambda _, rows: [{"code": f"user {u}"} for u in rows.user])
    rows = data.rows("test")
    assert tokenizer.decode(made(rows, show=False).prompts[3].tolist()).startswith(f"user {rows.user[3]}: ")


def test_changed_titles_are_counted_in_the_log(tokenizer, caplog):
    titles = ['A "quoted" one', "two\nlines", None, "x" * 2000, *TITLES[4:]]
    data = prepared(users=12, items=30, rows_each=12, dim=2, titles=titles)[0]
    with caplog.at_level("INFO"):
        prompts = builder(data, tokenizer)(data.rows("train"), show=False)
    for reason in ("double quotes: 1 of 30", "line breaks or control characters: 1", "missing: 1", "truncated: 1"):
        assert reason in caplog.text
    assert prompts.prompts.lengths.max() < 500


def test_a_data_set_without_titles_is_refused_by_name(tokenizer):
    data = prepared(users=4, items=12, rows_each=12, dim=2, titles=[None] * 12)[0]
    with pytest.raises(UserError, match=r"data=synthetic has no titles.*model=cf"):
        builder(data, tokenizer)
