"""The files of the repository that are pages, and their paths on the site."""

import posixpath
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS, CONTENTS = "docs", "docs/README.md"
ELSEWHERE = {
    CONTENTS: "index.md",
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Files with a different path on the site."""
FOLDERS = {
    "conf": "configuration/index.md",
    "recsys_lora": "api/index.md",
    "notebooks": "notebooks/index.md",
}
"""Folders of the repository and their pages on the site."""


def pages(root: Path = ROOT) -> dict[str, str]:
    """Return the path on the site of every Markdown page, by its path in the repository."""
    written = [path.relative_to(root).as_posix() for path in (root / DOCS).rglob("*.md")]
    return {place: ELSEWHERE.get(place, place.removeprefix(f"{DOCS}/")) for place in sorted({*written, *ELSEWHERE})}


def notebooks(root: Path = ROOT) -> dict[str, str]:
    """Return the path on the site of every notebook, by its path in the repository."""
    found = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    return {path.relative_to(root).as_posix(): f"notebooks/{path.stem}.md" for path in found}


def resolved(link: str, page: str) -> str:
    """Return the path of a link's target in the repository.

    Args:
        link: link as written in a page, without anchor.
        page: the page's path in the repository.
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
