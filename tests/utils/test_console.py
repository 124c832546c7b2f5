"""Progress where there is no terminal: plain lines with rate and time left."""

import io
import itertools
import logging
import re
import sys

import pytest

from recsys_lora.utils import console


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (185, "3m05s"), (3600, "1h00m"), (7625, "2h07m")]
)
def test_durations_are_short(seconds, text):
    assert console.duration(seconds) == text


def test_lines_say_how_far_how_fast_and_how_long(capsys, monkeypatch):
    clock = itertools.count(step=6)
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress("scoring", 8, "prompts") as advance:
        for _ in range(4):
            advance(2, "")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scoring: 4/8 prompts, 0.333/s, 12s left"
    assert lines[-1].startswith("scoring: 8/8 prompts")
    assert "left" not in lines[-1]


def test_small_and_large_amounts():
    assert console._Step("reading", 0.3, "MB", 0.25, begun=0.0).line(0.5) == "reading: 0.2/0.3 MB, 0.5/s, 0s left"
    line = console._Step("sorting", 4e6, "rows", 1e6, begun=0.0).line(5)
    assert line == "sorting: 1000000/4000000 rows, 200000/s, 15s left"


def test_a_note_is_shown_until_the_next_call(capsys):
    with console.progress("training", None, "steps") as advance:
        advance(1, "loss 0.5")
    assert capsys.readouterr().out.strip().endswith("loss 0.5")
    with console.progress("training", None, "steps") as advance:
        advance(1, "loss 0.5")
        advance(1, "")
    assert "loss" not in capsys.readouterr().out


def test_a_part_is_told_in_the_note_and_not_counted(capsys):
    with console.progress("scoring", 8, "questions") as advance:
        tokenising = console.part_of(advance, "tokenising", 8)
        tokenising(3, "")
        tokenising(2, "")
    assert "scoring: 0/8 questions" in (shown := capsys.readouterr().out)
    assert shown.strip().endswith("tokenising 5/8")


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_a_line_on_a_terminal_is_whole_and_has_a_bar_where_there_is_room(width):
    step = console._Step("training from step 1200", 5000, "steps", 1250, "loss 0.6931, lr 0.001", begun=0.0)
    line, drawn = step.line(100.0), step.drawn(100.0, width).plain
    assert drawn.endswith(line)
    assert ("━" in drawn) == (width >= len(line) + console.BAR + 1)
    assert "…" not in drawn


@pytest.mark.parametrize("terminal", [True, False])
def test_sentences_are_broken_between_words_on_a_terminal_alone(capsys, monkeypatch, terminal):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    sentence = "python -m recsys_lora.run model=cora " + "data.root=/a/folder/" * 6 + " seed=1"
    console.say(sentence)
    shown = capsys.readouterr().out
    assert shown.split() == sentence.split()
    assert (len(shown.splitlines()) > 1) == terminal


def test_a_console_is_as_wide_as_columns_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "77")
    assert console.console().width == 77


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def test_log_lines_stand_above_a_live_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    handler = logging.StreamHandler(terminal)
    log = logging.getLogger()
    log.addHandler(handler)
    try:
        with console.progress("training", 4, "steps") as advance:
            advance(2, "loss 0.5")
            log.warning("step 2: a line of the log")
            advance(2, "loss 0.4")
        log.warning("afterwards")
    finally:
        log.removeHandler(handler)
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).split("\r")[-1] for line in terminal.getvalue().splitlines()]
    assert "step 2: a line of the log" in shown
    assert "afterwards" in shown
    assert handler.stream is terminal
    assert any("━ training: 4/4 steps" in line and line.endswith("loss 0.4") for line in shown)


def test_other_ranks_show_nothing(capsys):
    with console.progress("training", 3, show=False) as advance:
        advance(1, "note")
    assert capsys.readouterr().out == ""
