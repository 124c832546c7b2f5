"""The table of contents has every page, and llms.txt is made of it."""

import pytest

from tests.documents import ROOT
from website.contents import sections
from website.llms import FILE, llms
from website.places import CONTENTS, ELSEWHERE, FOLDERS, pages, resolved


def test_every_page_is_in_the_contents_once():
    listed = [entry.place for section in sections() for entry in section.entries]
    assert sorted(listed) == sorted({*pages(), *FOLDERS} - {CONTENTS})


def test_llms_txt_is_made_of_the_contents():
    """After a change of docs/README.md: `python -m website llms`."""
    assert (ROOT / FILE).read_text() == llms(sections())
    assert all(f"({entry.place})" in llms(sections()) for section in sections() for entry in section.entries)


def test_a_line_that_is_no_entry_is_named(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / CONTENTS).write_text("# T\n\n## Start\n\n* [A](a.md): what\n* [B](b.md)\n")
    with pytest.raises(ValueError, match=r"docs/README\.md:6: write"):
        sections(tmp_path)


def test_pages_have_names_of_their_own_on_the_site():
    assert len(set(pages().values())) == len(pages())
    assert pages()["docs/cora.md"] == "cora.md"
    assert set(ELSEWHERE) <= set(pages())


def test_links_are_resolved_from_their_page():
    assert resolved("../notebooks", "docs/a.md") == "notebooks"
    assert resolved("b.md", "docs/a.md") == "docs/b.md"
    assert resolved("docs/a.md", "README.md") == "docs/a.md"
