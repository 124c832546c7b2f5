"""Titles with markup."""

import pytest

from recsys_lora.data.readers.html import has_markup, visible_text


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ('<span id="productTitle" class="a-size-large">\n\nReason\n Magazine</span>', "Reason Magazine"),
        ("Applebee&#39;s &amp; Co", "Applebee's & Co"),
        ("<script>var aPageStart = (new Date()).getTime();</script>", ""),
        ("<style>a {b: c}</style>Vogue<br/>Italy", "Vogue Italy"),
        ('<span class="a-size-medium a-color-secondary', ""),
        ("<!-- hidden -->Time", "Time"),
        ("<script>never closed", ""),
    ],
)
def test_what_a_browser_would_show(title, text):
    assert visible_text(title) == text


@pytest.mark.parametrize("title", ["I <3 you", "a < b and c > d", "x<y", "R & B", "5 > 4", ""])
def test_text_with_angles_is_no_markup(title):
    assert not has_markup(title)
    assert visible_text(title) == title


def test_a_long_title_is_quick():
    assert visible_text("<a " * 20_000 + "end") is not None
