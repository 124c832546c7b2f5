"""A prompt's wording: text with named slots, and what fills them for one row.

Slots are `{history}` (a list, shortened if the prompt is too long), `{candidates}` (a list, never shortened), `{title}`
and any other texts that a method provides (truncated as the last resort), and the data set's words (`{item}`,
`{items}`). `<user>`, `<item>` and the like stand for soft tokens if a method declares them; each is rendered as the
single character `SOFT`, which titles cannot contain. Another such character, `TITLE_MARK`, marks where the title
begins.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Unpack

from recsys_lora.prompts.slots import CANDIDATES, HISTORY, SOFT, TITLE, TITLE_MARK, ending, fill, slots, soft_names
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeInt, PositiveInt

HistoryOf = Literal["liked", "rated"]


@dataclass(frozen=True)
class Example:
    """What one row provides for a template.

    Attributes:
        history: one mapping of slots per earlier item, oldest first; each has at least `title`.
        texts: slots of the prompt itself; has at least `title`.
        candidates: one mapping of slots per candidate, in the order shown; each has `title` and `letter`.
    """

    history: Sequence[Mapping[str, str]] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    candidates: Sequence[Mapping[str, str]] = ()


class ListOptions(TypedDict, total=False):
    """How a prompt writes its lists.

    Attributes:
        item: how one item of the history is written, with slots.
        separator: what joins the items of the history.
        history: which items a history has: those that the user `liked`, or all that were `rated`.
        history_items: the most items of history shown, the latest ones; 0 shows none, as for a user without history.
        empty_history: the text of `{history}` for a user without history; None uses the prompt `no_history` instead.
        candidate: how one candidate of `{candidates}` is written, with the slots `{title}` and `{letter}` (A, B, ...);
            None if the prompt has no such list.
        candidate_separator: what joins the candidates.
    """

    item: str
    separator: str
    history: HistoryOf
    history_items: NonNegativeInt
    empty_history: str | None
    candidate: str | None
    candidate_separator: str


_LISTS: ListOptions = {
    "item": '"{title}"',
    "separator": ", ",
    "history": "liked",
    "history_items": 10,
    "empty_history": None,
    "candidate": None,
    "candidate_separator": "; ",
}


class Template:
    """The wording of one task's prompt.

    Args:
        text: the prompt, with slots.
        no_history: the prompt of a user without history; the same slots except `{history}`.
        title_tokens: the most tokens of a title; a longer one is cut.
        max_tokens: the most tokens of a prompt; a longer one loses its oldest history items; None is the backbone's
            context length.
        line_break: how a line break of the text is written: `backslash_n` is the two characters in the file of CoRA's
            authors.
        soft_tokens: names that, in angle brackets, stand for a soft token.
        lists: how it writes the history and the candidates: see `ListOptions`.

    Attributes:
        given: the arguments that it was made with, by name.
        soft_names: the soft tokens in their order; those of a candidate once, though each candidate has its own.

    Raises:
        UserError: the texts have invalid slots, or differ in their soft tokens.
    """

    def __init__(
        self,
        text: str,
        no_history: str,
        *,
        title_tokens: PositiveInt = 64,
        max_tokens: PositiveInt | None = None,
        line_break: Literal["newline", "backslash_n"] = "newline",
        soft_tokens: Sequence[str] = (),
        **lists: Unpack[ListOptions],
    ) -> None:
        options: ListOptions = {**_LISTS, **lists}
        for name, given in (("text", text), ("no_history", no_history)):
            if not given.strip():
                raise UserError(f"{name} is empty: write what the language model reads")
        self.given: dict[str, Any] = {
            "text": text,
            "no_history": no_history,
            "title_tokens": title_tokens,
            "max_tokens": max_tokens,
            "line_break": line_break,
            "soft_tokens": soft_tokens,
            **options,
        }
        self.item = options["item"]
        self.separator = options["separator"]
        self.history = options["history"]
        self.history_items = options["history_items"]
        self.title_tokens = title_tokens
        self.max_tokens = max_tokens
        candidate, empty_history = options["candidate"], options["empty_history"]
        if empty_history is not None:
            if HISTORY not in slots(text):
                raise UserError("empty_history stands in the slot {history}: put it into text, or leave it null")
            no_history = text.replace(f"{{{HISTORY}}}", empty_history)
        broken = "\n" if line_break == "newline" else "\\n"
        self.text, self.no_history = (part.replace("\n", broken) for part in (text, no_history))
        self.candidate = candidate
        self.candidate_separator = options["candidate_separator"]
        _check_slots(text, no_history, self.item, candidate)
        whole = [part.replace(f"{{{CANDIDATES}}}", candidate or "") for part in (self.text, self.no_history)]
        names = [soft_names(part, soft_tokens) for part in whole]
        if names[0] != names[1]:
            raise UserError(f"text has the soft tokens {names[0]} and no_history {names[1]}: make them equal")
        self.soft_names: list[str] = names[0]
        for name in soft_tokens:
            self.text, self.no_history = (part.replace(f"<{name}>", SOFT) for part in (self.text, self.no_history))
            self.candidate = self.candidate and self.candidate.replace(f"<{name}>", SOFT)

    def is_text(self, words: Iterable[str]) -> bool:
        """Return whether titles and the data set's words can fill the prompt: no soft tokens, no further slots."""
        known = {HISTORY, TITLE, *words}
        return not self.soft_names and {*slots(self.text), *slots(self.no_history)} <= known

    @property
    def endings(self) -> tuple[str, str]:
        """The last part of the prompts with history and of those without."""
        return ending(self.text), ending(self.no_history)

    def shows_title(self) -> bool:
        """Return whether the prompts with history and those without show a candidate's title, or a list of them."""
        return all({TITLE, CANDIDATES} & {*slots(text)} for text in (self.text, self.no_history))

    def soft_sequence(self, candidates: int) -> list[tuple[str, int]]:
        """Return a prompt's soft tokens in their order, each with the number of the candidate that it belongs to.

        Args:
            candidates: how many a prompt shows; soft tokens outside the list belong to the first.
        """
        given, names = self.given["text"], self.given["soft_tokens"]
        before, listed, after = given.partition(f"{{{CANDIDATES}}}")
        of_each = soft_names(self.given["candidate"] or "", names) if listed else []
        inside = [(name, number) for number in range(candidates) for name in of_each]
        outside = [[(name, 0) for name in soft_names(part, names)] for part in (before, after)]
        return [*outside[0], *inside, *outside[1]]

    def changed(self, **arguments: Any) -> "Template":
        """Return the template with some arguments changed."""
        return Template(**{**self.given, **arguments})

    def remarked(self, marks: Mapping[str, str], soft_tokens: Sequence[str] = ()) -> "Template":
        """Return the template with its soft tokens replaced.

        Args:
            marks: what replaces `<name>`, by name: slots, or other soft tokens in angle brackets.
            soft_tokens: the names of the new soft tokens.
        """

        def written(text: str | None) -> str | None:
            for name, mark in marks.items():
                text = text and text.replace(f"<{name}>", mark)
            return text

        texts = {part: written(self.given[part]) for part in ("text", "no_history", "candidate")}
        return self.changed(**texts, soft_tokens=soft_tokens)

    def render(
        self, example: Example, words: Mapping[str, str], items: int | None = None, mark_title: bool = False
    ) -> str:
        """Fill the slots.

        Args:
            example: what fills them.
            words: the data set's words (`item`, `items`).
            items: the most items of history shown; None is `history_items`.
            mark_title: put `TITLE_MARK` before the title, and before a list of candidates.

        Raises:
            UserError: nothing fills a slot.
        """
        items = self.history_items if items is None else items
        history = example.history[len(example.history) - min(items, len(example.history)) :]
        shown = [fill(self.item, {**words, **entry}) for entry in history]
        texts = {**words, **example.texts}
        if mark_title and TITLE in texts:
            texts[TITLE] = TITLE_MARK + texts[TITLE]
        if self.candidate is not None:
            listed = [fill(self.candidate, {**words, **entry}) for entry in example.candidates]
            texts[CANDIDATES] = (TITLE_MARK if mark_title else "") + self.candidate_separator.join(listed)
        if not shown:
            return fill(self.no_history, texts)
        return fill(self.text, {**texts, HISTORY: self.separator.join(shown)})


def _check_slots(text: str, no_history: str, item: str, candidate: str | None) -> None:
    """Refuse texts whose braces do not match, or that have lists where nothing can fill them."""
    for part in (text, item, candidate or ""):
        slots(part)
    if HISTORY in slots(no_history):
        raise UserError("no_history has the slot {history}, which is empty for such users: leave it out")
    if any((CANDIDATES in slots(part)) != (candidate is not None) for part in (text, no_history)):
        raise UserError(
            "candidate says how an entry of {candidates} is written: set it and use that slot in "
            "text and no_history, or leave out all three"
        )
