"""Every table of the documentation that has a record is what its record gives."""

import importlib

import pytest

from recsys_lora.report.page import rewritten
from tests.documents import ROOT, documents


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_tables_are_those_of_their_records(page):
    remedy = f"run: python -m recsys_lora.compare --page {page.name}"
    assert rewritten(page) == page.read_text(encoding="utf-8"), remedy


@pytest.mark.parametrize("name", ["performance.md", "serving.md"])
def test_tables_of_speed_are_those_of_their_records(monkeypatch, name):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    page = ROOT / "docs" / name
    made = rewritten(page, "bench", importlib.import_module("_table").page_table)
    assert made == page.read_text(encoding="utf-8"), f"run: python benchmarks/_table.py docs/{page.name}"
