import pytest

from recsys_lora.llm.tiny import train_tokenizer
from recsys_lora.prompts.slots import SOFT
from recsys_lora.prompts.titles import LINE_BREAKS, MISSING, QUOTES, SPECIAL, TRUNCATED, prompt_titles


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Alien (1979)", "Amélie 天使 (2001)"], 400)


def clean(tokenizer, title, max_tokens=64):
    titles, counts = prompt_titles(["", title], tokenizer, max_tokens, "unknown movie")
    return titles[1], dict(counts)


@pytest.mark.parametrize(
    ("title", "cleaned", "reason"),
    [
        ("Piano, The (1993)", "Piano, The (1993)", None),
        ("  two\n lines\t", "two lines", LINE_BREAKS),
        ('The "best" film', "The 'best' film", QUOTES),
        ("a</s>b", "a< /s>b", SPECIAL),
        (f"soft{SOFT}token", "soft token", LINE_BREAKS),
        ("Amélie 天使", "Amélie 天使", None),
        (None, "unknown movie", MISSING),
        ("", "", None),
    ],
)
def test_titles_fit_into_one_line(tokenizer, title, cleaned, reason):
    assert clean(tokenizer, title) == (cleaned, {reason: 1} if reason else {})


def test_a_title_of_2000_characters_is_cut_by_tokens(tokenizer):
    title = "word " * 400
    cleaned, counts = clean(tokenizer, title, max_tokens=20)
    assert counts[TRUNCATED] == 1
    assert title.startswith(cleaned)
    assert 15 <= len(tokenizer(cleaned)["input_ids"]) <= 20


def test_a_character_is_not_cut_in_half(tokenizer):
    letters = "𝄞" * 40  # four bytes each, and no token for the whole
    for tokens in range(5, 10):
        cleaned, _ = clean(tokenizer, letters, max_tokens=tokens)
        assert cleaned
        assert set(cleaned) == {"𝄞"}


def test_a_special_token_in_a_title_gives_no_special_id(tokenizer):
    cleaned, _ = clean(tokenizer, "a</s>b<pad>")
    assert not set(tokenizer(cleaned)["input_ids"]) & set(tokenizer.all_special_ids)
