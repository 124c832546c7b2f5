"""The prompt that the configs choose is the published one, word for word."""

import pytest
from hydra.utils import instantiate

from recsys_lora.prompts.template import Example
from tests.jobs import resolved

PUBLISHED = (
    "#Question: A user has given high ratings to the following {items}: {history}. Leverage the information to predict "
    'whether the user would enjoy the {item} titled {title}? Answer with "Yes" or "No". \n#Answer:'
)
TITLES = ["Piano, The (1993)", "Alien (1979)"]


CHOSEN = resolved("model=cora")["model"]["prompt"]


def template(**knobs):
    return instantiate({**CHOSEN, **knobs})


def render(template, words, titles=TITLES):
    return template.render(Example([{"title": title} for title in titles], {"title": "Heat (1995)"}), words)


@pytest.mark.parametrize("words", [{"item": "movie", "items": "movies"}, {"item": "book", "items": "books"}], ids=str)
def test_the_default_prompt_is_the_papers(words):
    filled = {**words, "history": '"Piano, The (1993)", "Alien (1979)"', "title": '"Heat (1995)"'}
    assert render(template(), words) == PUBLISHED.format(**filled)


def test_the_authors_literal_line_break_is_an_option():
    words = {"item": "movie", "items": "movies"}
    assert render(template(line_break="backslash_n"), words) == render(template(), words).replace("\n", "\\n")


def test_a_user_without_history_is_not_called_unknown():
    prompt = render(template(), {"item": "movie", "items": "movies"}, titles=[])
    assert "has not given a high rating to any movie yet" in prompt
    assert prompt.endswith('"Heat (1995)"? Answer with "Yes" or "No". \n#Answer:')
