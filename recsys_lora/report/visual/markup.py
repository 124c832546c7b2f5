"""HTML of sections, figures and tables; all text from data is escaped here."""

from collections.abc import Sequence
from html import escape
from importlib import resources

from recsys_lora.report.visual.svg import STYLES

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A browser may only show the page: nothing is fetched, and no script runs."""


def document(title: str, subtitle: Sequence[str], sections: Sequence[tuple[str, str]]) -> str:
    """Return a whole page: title, lines below it, and the sections (heading and HTML) that are not empty."""
    css = resources.files("recsys_lora.report.visual").joinpath("style.css").read_text(encoding="utf-8")
    shown = [(f"part-{place}", name, body) for place, (name, body) in enumerate(sections) if body]
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in shown)
    parts = "".join(f'<section><h2 id="{key}">{escape(name)}</h2>\n{body}</section>\n' for key, name, body in shown)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style></head>\n<body>"
        f"<h1>{escape(title)}</h1>\n{''.join(paragraph(line, 'soft') for line in subtitle)}"
        f"<nav>{links}</nav>\n{parts}</body></html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f"<p{_kind(kind)}>{escape(text)}</p>\n"


def heading(text: str) -> str:
    """Return a heading within a section."""
    return f"<h3>{escape(text)}</h3>\n"


def listed(sentences: Sequence[str]) -> str:
    """Return plain sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>\n" if sentences else ""


def folded(summary: str, text: str) -> str:
    """Return a long plain text, folded behind a summary line."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>\n"


def figures(made: Sequence[str]) -> str:
    """Return figures side by side if there is room."""
    shown = [one for one in made if one]
    return f'<div class="figures">{"".join(shown)}</div>\n' if shown else ""


def figure(
    title: str, picture: str, legend: Sequence[tuple[str, int]] = (), caption: str = "", dots: bool = False
) -> str:
    """Return a picture with its title, a legend and a caption below.

    Args:
        title: plain text.
        picture: SVG.
        legend: names of the series and their styles.
        caption: plain text.
        dots: the series are dots or bars, not lines.
    """
    entries = "".join(f"<li>{_sample(style, dots)}{escape(name)}</li>" for name, style in legend)
    names = f'<ul class="legend">{entries}</ul>' if entries else ""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure><b>{escape(title)}</b>{names}{picture}{below}</figure>\n"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    own: Sequence[bool] = (),
    texts: Sequence[int] = (0,),
) -> str:
    """Return a table of plain text.

    Args:
        heads: column headings.
        rows: their cells.
        caption: text above it.
        own: which rows are highlighted; none by default.
        texts: the text columns; the others are numbers, aligned right.
    """
    kinds = ["" if place in texts else "number" for place in range(len(heads))]
    head = "".join(f"<th{_kind(kind)}>{escape(name)}</th>" for name, kind in zip(heads, kinds, strict=True))
    body = "".join(
        f"<tr{_kind('own' if own and own[place] else '')}>"
        + "".join(f"<td{_kind(kind)}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>\n"
        for place, row in enumerate(rows)
    )
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{above}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def _sample(style: int, dots: bool) -> str:
    kind = style % STYLES
    drawn = f'<rect class="f{kind}" x="9" y="0" width="10" height="10"/>'
    line = f'<line class="line s{kind}" x1="0" y1="5" x2="30" y2="5"/>'
    return f'<svg viewBox="0 0 30 10" aria-hidden="true">{drawn if dots else line}</svg>'


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
