"""Answers as tokens, and choices that one token distinguishes: Yes/No, digits, option letters.

Prompt and answer are tokenised together, because the token after a prompt depends on both. The common beginning of all
choices is added to the prompt (SmolLM2 writes " 5" as a space and a digit); of the rest, one token each is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import shared_start


@dataclass(frozen=True)
class ResolvedChoices:
    """The tokens that represent the answers in one tokenizer.

    Attributes:
        common_ids: the common beginning of all answers, to append to each prompt.
        token_ids: the token that identifies each answer, in the order of the choices.
        pieces: these tokens as the tokenizer writes them, for the log.
    """

    common_ids: list[int]
    token_ids: list[int]
    pieces: list[str]


def continuations(tokenizer: Any, prompt_end: str, answers: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each answer after a prompt, separated by a space unless the prompt ends in white space.

    Args:
        tokenizer: a `transformers` tokenizer.
        prompt_end: the last part of every prompt (its end in the chat template, if one is used).
        answers: the answers as text.

    Raises:
        UserError: the tokenizer joins an answer with the end of the prompt.
    """
    separator = "" if prompt_end[-1:].isspace() else " "
    texts = [prompt_end, *(prompt_end + separator + answer for answer in answers)]
    prompt, *together = tokenizer(texts, add_special_tokens=False)["input_ids"]
    for answer, ids in zip(answers, together, strict=True):
        if ids[: len(prompt)] != prompt:
            raise UserError(
                f"answer {answer[:40]!r}: this tokenizer joins it with the end of the prompt {prompt_end[-20:]!r}: "
                "let the prompt end in a punctuation mark, without white space"
            )
    return [ids[len(prompt) :] for ids in together]


def resolve_choices(choices: Sequence[str], tokenizer: Any, prompt_end: str) -> ResolvedChoices:
    """Find the tokens that represent a few fixed answers, e.g. `["Yes", "No"]`; arguments as for `continuations`.

    Raises:
        UserError: one token does not distinguish the answers, or an answer shares a token with the prompt.
    """
    answers = continuations(tokenizer, prompt_end, choices)
    shared = shared_start(answers)
    tokens = [answer[shared] for answer in answers if len(answer) > shared]
    if len(set(tokens)) < len(choices):
        heads = [answer[shared : shared + 1] for answer in answers]
        alike = [place for place, head in enumerate(heads) if not head or heads.count(head) > 1][:2]
        pieces = (f"{choices[place]!r} is {tokenizer.convert_ids_to_tokens(answers[place])}" for place in alike)
        raise UserError(
            f"the {len(choices)} answers do not differ in one token of this tokenizer ({', '.join(pieces)}): choose "
            "answers that do, or fewer (of letters: task.topk.candidates)"
        )
    return ResolvedChoices(answers[0][:shared], tokens, tokenizer.convert_ids_to_tokens(tokens))
