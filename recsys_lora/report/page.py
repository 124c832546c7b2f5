"""Tables in Markdown pages that are written by a command: each between two marks that name its record."""

import re
from pathlib import Path

from recsys_lora.errors import UserError
from recsys_lora.files import write_text
from recsys_lora.report.comparison_schema import read_comparison
from recsys_lora.report.comparison_table import markdown

OPEN = re.compile(r"^<!-- table: (\S+) -->$", re.MULTILINE)
CLOSE = "<!-- /table -->"


def rewritten(page: Path) -> str:
    """Return a page's text with each of its tables made anew from its record.

    A table stands between a line `<!-- table: FILE.json -->`, the path relative to the page, and a line
    `<!-- /table -->`. Fenced code is left as it is.

    Raises:
        UserError: a mark has no end, or its record is missing or of another version.
    """
    text = page.read_text(encoding="utf-8")
    result, done = "", 0
    for opened in records(text):
        if opened.start() < done:
            raise UserError(f"{page}: a table begins within the one before it: end that with {CLOSE}")
        end = text.find(f"\n{CLOSE}", opened.end())
        if end < 0:
            raise UserError(f"{page}: {opened.group()}: has no end: put a line {CLOSE} behind it")
        table = markdown(read_comparison(page.parent / opened.group(1)))
        result += text[done : opened.end()] + f"\n\n{table}"
        done = end
    return result + text[done:]


def records(text: str) -> list[re.Match[str]]:
    """Return the opening marks of a page's tables, outside fenced code."""
    fences = [found.span() for found in re.finditer(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)]
    return [found for found in OPEN.finditer(text) if not any(start <= found.start() < end for start, end in fences)]


def rewrite(page: Path) -> int:
    """Write a page's tables anew into it.

    Returns:
        How many tables it has.

    Raises:
        UserError: the page is not there, has no table, or one of its tables cannot be made.
    """
    if not page.is_file():
        raise UserError(f"{page}: no such page: give a Markdown file")
    made = len(records(page.read_text(encoding="utf-8")))
    if not made:
        raise UserError(f"{page}: no table in it: put <!-- table: results/NAME.json --> and {CLOSE} where one is to be")
    write_text(page, rewritten(page))
    return made
