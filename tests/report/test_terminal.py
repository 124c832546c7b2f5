"""Tables that are wider than a screen."""

import io

import pytest
from rich.console import Console

from recsys_lora.report.terminal import fitted

HEADS = ["model", *(f"metric {n}" for n in range(9))]
CELLS = [[name, *(f"{name[0]}.{n}123\n[.{n}00, .{n}99]" for n in range(9))] for name in ("cora", "popularity")]


def drawn(width, heads=HEADS, cells=CELLS, **more):
    screen = Console(width=width, file=io.StringIO())
    screen.print(fitted("a title of a table", heads, cells, width, **more))
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120, 400])
def test_every_value_stands_once_and_in_a_row_with_its_name(width):
    text = drawn(width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    tables = text.count("┏")
    assert (tables == 1) == (width == 400)
    for name, *cells in CELLS:
        rows = [line for line in lines if line.startswith(f"│ {name} ")]
        assert len(rows) == tables
        for cell in cells:
            value, interval = cell.split("\n")
            assert sum(f" {value} " in row for row in rows) == 1
            assert text.count(interval) == len(CELLS)


def test_columns_are_shared_out_evenly_and_heads_are_whole_where_there_is_room():
    widths = [len(line) for line in drawn(80).splitlines() if line.startswith("┏")]
    assert max(widths) - min(widths) <= 13  # a column
    text = drawn(80, ["model", "AUC of warm questions", "n"], [["cora", ".7", "1"]])
    assert "AUC of warm questions" in text


def test_a_cell_wider_than_the_screen_is_broken_between_words():
    reason = "failed: " + "some words of a long reason " * 8
    text = drawn(60, ["job", "result"], [["0", reason]])
    assert max(map(len, text.splitlines())) <= 60
    body = [line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│")]
    assert " ".join(body).split() == reason.split()


def test_long_names_leave_room_for_values():
    text = drawn(50, ["model", "AUC"], [["a name of many words " * 6, ".7123"]])
    assert ".7123" in text
    assert max(map(len, text.splitlines())) <= 50
