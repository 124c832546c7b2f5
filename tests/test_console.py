"""Progress where there is no terminal: plain lines with rate and time left."""

import itertools

import pytest

from recsys_lora import console


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


def test_the_last_note_is_kept(capsys):
    with console.progress("training", None, "steps") as advance:
        advance(1, "loss 0.5")
        advance(1, "")
    assert capsys.readouterr().out.strip().endswith("loss 0.5")


def test_other_ranks_show_nothing(capsys):
    with console.progress("training", 3, show=False) as advance:
        advance(1, "note")
    assert capsys.readouterr().out == ""
