"""Answers that one token tells apart: Yes/No, digits, option letters.

Prompt and answer are tokenised together, because the piece that follows a prompt depends on both. What all answers
begin with joins the prompt (SmolLM2 writes " 5" as a space and a digit); of the rest one token each is read.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recsys_lora.utils.errors import UserError


@dataclass(frozen=True)
class ResolvedChoices:
    """The tokens that stand for the answers in one tokenizer.

    Attributes:
        common_ids: what all answers begin with, to append to each prompt.
        token_ids: the token that tells each answer apart, in the order of the choices.
        pieces: these tokens as the tokenizer writes them, for the log.
    """

    common_ids: list[int]
    token_ids: list[int]
    pieces: list[str]


class ChoiceAnswer:
    """A question with a few fixed answers.

    Args:
        choices: the answers, as `["Yes", "No"]`.
        separator: stands between prompt and answer, unless the prompt ends in white space.
    """

    def __init__(self, choices: Sequence[str], separator: str = " ") -> None:
        self.choices = list(choices)
        self.separator = separator

    def resolve(self, tokenizer: Any, prompt_end: str) -> ResolvedChoices:
        """Find the tokens that stand for the answers.

        Args:
            tokenizer: a `transformers` tokenizer.
            prompt_end: the last part of every prompt (its end in the chat template, if one is used).

        Raises:
            UserError: one token does not tell the answers apart, or an answer shares one with the prompt.
        """
        separator = "" if prompt_end[-1:].isspace() else self.separator
        prompt = _ids(tokenizer, prompt_end)
        answers = []
        for choice in self.choices:
            together = _ids(tokenizer, prompt_end + separator + choice)
            if together[: len(prompt)] != prompt:
                raise UserError(
                    f"answer {choice!r}: this tokenizer joins it with the end of the prompt {prompt_end[-20:]!r}: "
                    "let the prompt end in a punctuation mark, without white space"
                )
            answers.append(together[len(prompt) :])
        shared = _shared_start(answers)
        tokens = [answer[shared] for answer in answers if len(answer) > shared]
        if len(set(tokens)) < len(self.choices):
            pieces = [tokenizer.convert_ids_to_tokens(answer) for answer in answers]
            written = "; ".join(f"{choice!r} is {piece}" for choice, piece in zip(self.choices, pieces, strict=True))
            raise UserError(f"one token does not tell the answers apart in this tokenizer ({written}): use others")
        return ResolvedChoices(answers[0][:shared], tokens, tokenizer.convert_ids_to_tokens(tokens))


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _shared_start(answers: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all answers begin with."""
    columns = zip(*answers, strict=False)  # up to the shortest
    return sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
