"""Links between the repository's files lead to the same places on the site."""

import pytest

from website.links import Rewriter, outside_code

PAGES = {"README.md": "overview.md", "docs/a.md": "a.md", "docs/deep/b.md": "deep/b.md"}


@pytest.fixture
def rewriter(tmp_path):
    for name in ("docs/picture.png", "conf/model/cora.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x: 1\n")
    return Rewriter(tmp_path, PAGES)


@pytest.mark.parametrize(
    ("place", "target", "link", "there"),
    [
        ("docs/a.md", "a.md", "../README.md#use", "overview.md#use"),
        ("docs/a.md", "a.md", "deep/b.md", "deep/b.md"),
        ("docs/deep/b.md", "deep/b.md", "../a.md", "../a.md"),
        ("README.md", "overview.md", "docs/a.md", "a.md"),
        ("docs/a.md", "a.md", "../conf", "configuration/index.md"),
        ("docs/a.md", "a.md", "picture.png", "picture.png"),
        ("README.md", "overview.md", "conf/model/cora.yaml", "source/conf/model/cora.yaml.md"),
        ("docs/a.md", "a.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/a.md", "a.md", "#here", "#here"),
    ],
)
def test_a_link(rewriter, place, target, link, there):
    assert rewriter.rewrite(f"see [it]({link}).", place, target) == f"see [it]({there})."


def test_what_is_linked_to_is_kept(rewriter):
    rewriter.rewrite("![p](picture.png) [c](../conf/model/cora.yaml)", "docs/a.md", "a.md")
    assert rewriter.linked.assets == {"docs/picture.png"}
    assert rewriter.linked.sources == {"conf/model/cora.yaml"}


def test_a_link_to_nothing_is_named(rewriter):
    with pytest.raises(ValueError, match=r"docs/a\.md: gone\.md#x: no such file"):
        rewriter.rewrite("[it](gone.md#x)", "docs/a.md", "a.md")


def test_code_is_left_alone(rewriter):
    text = "a\n\n```python\nr[a](b.md)\n```\n\nb"
    assert rewriter.rewrite(text, "docs/a.md", "a.md") == text
    assert outside_code(text, str.upper) == "A\n\n```python\nr[a](b.md)\n```\n\nB"
