"""Every table of the documentation that has a record is what its record gives."""

import pytest

from recsys_lora.report.page import rewritten
from tests.documents import documents


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_tables_are_those_of_their_records(page):
    remedy = f"run: python -m recsys_lora.compare --page {page.name}"
    assert rewritten(page) == page.read_text(encoding="utf-8"), remedy
