"""The table of contents, docs/README.md: source of the site's navigation and of llms.txt."""

import re
from dataclasses import dataclass
from pathlib import Path

from website.places import CONTENTS, ROOT, resolved

SECTION = re.compile(r"^## (.+)$")
ENTRY = re.compile(r"^\* \[([^\]]+)\]\(([^)#]+)\): (.+)$")


@dataclass(frozen=True)
class Entry:
    """A page in the table of contents.

    Attributes:
        title: title in the navigation.
        place: its path in the repository.
        about: description in one line.
    """

    title: str
    place: str
    about: str


@dataclass(frozen=True)
class Section:
    """A section of the navigation."""

    title: str
    entries: list[Entry]


def sections(root: Path = ROOT) -> list[Section]:
    """Return the sections of the table of contents with their pages.

    Raises:
        ValueError: a line of a list is not an entry `* [title](page): what is in it`.
    """
    found: list[Section] = []
    for number, line in enumerate((root / CONTENTS).read_text(encoding="utf-8").splitlines(), 1):
        if heading := SECTION.match(line):
            found.append(Section(heading[1], []))
        elif entry := ENTRY.match(line):
            found[-1].entries.append(Entry(entry[1], resolved(entry[2], CONTENTS), entry[3]))
        elif line.startswith("* ") and found:
            raise ValueError(f"{CONTENTS}:{number}: write `* [title](page): what is in it`")
    return found
