"""The tokens that stand for answers, in tokenizers that write them differently."""

from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from recsys_lora.llm.answer import resolve_choices
from recsys_lora.llm.tiny import train_tokenizer
from recsys_lora.utils.errors import UserError


def spaces_apart(*words: str) -> Any:
    """A tokenizer that writes a space as a token of its own."""
    pieces = [" ", ":", "#Answer", "1", "2", "3", "4", "5", "0", "<unk>", *words]
    inner = Tokenizer(models.WordLevel({piece: number for number, piece in enumerate(pieces)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d| |:"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


def test_the_piece_that_really_follows() -> None:
    tokenizer = train_tokenizer(["Yes No"], 400)
    found = resolve_choices(["Yes", "No"], tokenizer, "\n#Answer:")
    assert found.common_ids == []
    assert found.pieces == ["ĠYes", "ĠNo"]
    assert tokenizer.decode(found.token_ids) == " Yes No"
    after_line = resolve_choices(["Yes", "No"], tokenizer, "<answer>\n")
    assert [tokenizer.decode([token])[0] for token in after_line.token_ids] == ["Y", "N"]


def test_what_answers_begin_with_joins_the_prompt() -> None:
    tokenizer = spaces_apart()
    found = resolve_choices(list("12345"), tokenizer, "#Answer:")
    assert tokenizer.convert_ids_to_tokens(found.common_ids) == [" "]
    assert found.pieces == list("12345")


def test_answers_that_one_token_does_not_tell_apart() -> None:
    tokenizer = spaces_apart("Yes", "No")
    with pytest.raises(UserError, match="do not differ in one token"):
        resolve_choices(["1", "10"], tokenizer, "#Answer:")
    with pytest.raises(UserError, match="do not differ in one token"):
        resolve_choices(["12", "13", "21"], tokenizer, "#Answer:")
    with pytest.raises(UserError, match="do not differ in one token"):
        resolve_choices(["Perhaps", "Maybe"], tokenizer, "#Answer:")  # both unknown
    together = resolve_choices(["12", "13"], tokenizer, "#Answer:")
    assert together.pieces == ["2", "3"]


def test_an_answer_whose_tokens_merge_with_the_prompt_s() -> None:
    tokenizer = train_tokenizer(["Yes No"], 400)
    with pytest.raises(UserError, match="joins it with the end of the prompt"):
        resolve_choices(["Yes", "No"], tokenizer, "#Answer: ")
