"""Links between files of the repository, rewritten for the site."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import dirname, relpath

from website.places import FOLDERS, resolved

FENCED = re.compile(r"^(```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^()\s]+)(\))")
OUTSIDE = re.compile(r"[a-z]+:|#")


@dataclass
class Linked:
    """Link targets other than pages; collected while links are rewritten.

    Attributes:
        assets: files below docs/ that are not pages, copied as they are.
        sources: files elsewhere in the repository, each shown on its own page.
    """

    assets: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)


class Rewriter:
    """Rewrites the links of pages.

    Args:
        root: root of the repository.
        pages: path of every page on the site, by its path in the repository.
    """

    def __init__(self, root: Path, pages: Mapping[str, str]) -> None:
        self.root, self.pages, self.linked = root, pages, Linked()

    def rewrite(self, text: str, place: str, target: str) -> str:
        """Return a page's Markdown with links for the site; code is unchanged.

        Args:
            text: the Markdown.
            place: the page's path in the repository.
            target: its path on the site.

        Raises:
            ValueError: a link is broken.
        """
        return outside_code(text, lambda prose: LINK.sub(lambda link: self._link(link, place, target), prose))

    def _link(self, link: re.Match[str], place: str, target: str) -> str:
        opened, written, closed = link.groups()
        if OUTSIDE.match(written):
            return link[0]
        path, hash_, anchor = written.partition("#")
        to = self._page(resolved(path, place), f"{place}: {written}")
        return f"{opened}{relpath(to, dirname(target) or '.')}{hash_}{anchor}{closed}"

    def _page(self, at: str, told: str) -> str:
        """Return the path on the site for a file or folder of the repository."""
        if found := self.pages.get(at) or FOLDERS.get(at):
            return found
        if not (self.root / at).is_file():
            raise ValueError(f"{told}: no such file")
        if at.startswith("docs/"):
            self.linked.assets.add(at)
            return at.removeprefix("docs/")
        self.linked.sources.add(at)
        return f"source/{at}.md"


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return a text with `change` applied to the parts outside fenced code."""
    return "".join(part if part.startswith("```") else change(part) for part in FENCED.split(text))
