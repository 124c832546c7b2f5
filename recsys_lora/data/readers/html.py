"""Titles that hold a web page's markup where text should be, or entities such as `&#39;`."""

import html
import re

MARKUP = re.compile(r"<!--|</?[a-zA-Z][\w-]*(\s[^<>]*)?/?(>|$)")
"""A tag or a comment; a tag may be cut off by the end of the title. `I <3 this` is text."""
_SILENT = re.compile(r"(?is)<!--.*?(-->|$)|<(script|style)\b.*?(</\2\s*>|$)")
_TAG = re.compile(r"(?s)<!--.*?(-->|$)|" + MARKUP.pattern)


def has_markup(text: str) -> bool:
    """Tell whether a text holds HTML tags."""
    return MARKUP.search(text) is not None


def visible_text(text: str) -> str:
    """Return what a browser would show of a text, on one line: no tags, no scripts, entities resolved; "" if nothing."""
    return " ".join(html.unescape(_TAG.sub(" ", _SILENT.sub(" ", text))).split())
