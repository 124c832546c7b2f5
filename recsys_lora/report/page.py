"""Generated tables in Markdown pages, each between two marks that name its record."""

import re
from collections.abc import Callable
from pathlib import Path

from recsys_lora.report.comparison_schema import read_comparison
from recsys_lora.report.comparison_table import markdown
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import write_text

_TABLE = "table"
"""The kind of marks around comparisons of runs."""


def _comparison(record: Path) -> str:
    return markdown(read_comparison(record))


def rewritten(page: Path, kind: str = _TABLE, made: Callable[[Path], str] = _comparison) -> str:
    """Return a page's text with each of its tables regenerated from its record.

    A table stands between a line `<!-- KIND: FILE.json -->`, the path relative to the page, and a line
    `<!-- /KIND -->`. Fenced code is left as it is.

    Args:
        page: a Markdown file.
        kind: the kind of marks.
        made: makes the table from a record.

    Raises:
        UserError: a mark has no end, or its record is missing or of another version.
    """
    text, close = page.read_text(encoding="utf-8"), f"<!-- /{kind} -->"
    result, done = "", 0
    for opened in records(text, kind):
        if opened.start() < done:
            raise UserError(f"{page}: a table begins within the one before it: end that with {close}")
        end = text.find(f"\n{close}", opened.end())
        if end < 0:
            raise UserError(f"{page}: {opened.group()}: has no end: put a line {close} behind it")
        table = made(page.parent / opened.group(1))
        result += text[done : opened.end()] + f"\n\n{table}"
        done = end
    return result + text[done:]


def records(text: str, kind: str = _TABLE) -> list[re.Match[str]]:
    """Return the opening marks of a page's tables, outside fenced code."""
    fences = [found.span() for found in re.finditer(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)]
    opening = re.compile(rf"^<!-- {kind}: (\S+) -->$", re.MULTILINE)
    return [found for found in opening.finditer(text) if not any(start <= found.start() < end for start, end in fences)]


def rewrite(page: Path, kind: str = _TABLE, made: Callable[[Path], str] = _comparison) -> int:
    """Regenerate the tables of a page in place; the arguments are those of `rewritten`.

    Returns:
        The number of tables in it.

    Raises:
        UserError: the page does not exist, has no table, or one of its tables cannot be made.
    """
    if not page.is_file():
        raise UserError(f"{page}: no such page: give a Markdown file")
    number = len(records(page.read_text(encoding="utf-8"), kind))
    if not number:
        marks = f"<!-- {kind}: results/NAME.json --> and <!-- /{kind} -->"
        raise UserError(f"{page}: no table in it: put {marks} where one is to be")
    write_text(page, rewritten(page, kind, made))
    return number
