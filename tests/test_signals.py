"""A signal that a library swallows still ends the run."""

import signal
import sys

import pytest

from recsys_lora.cli import launch as launching
from recsys_lora.processes.signals import Stopped, raise_lost, stopping

NUMBERS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def swallowed():
    """Send a signal to this process while code runs that goes on after any exception."""

    def send(number):
        with pytest.raises(Stopped):
            signal.raise_signal(number)

    return send


@pytest.mark.parametrize("number", NUMBERS)
def test_what_was_swallowed_is_raised_once_more(number, swallowed):
    with stopping():
        raise_lost()  # nothing came
        swallowed(number)
        with pytest.raises(Stopped) as caught:
            raise_lost()
    assert caught.value.number == number
    with stopping():
        raise_lost()  # of a command before this one


@pytest.mark.parametrize("number", NUMBERS)
def test_a_job_does_not_begin_after_a_signal_got_lost(number, swallowed):
    begun = []
    with stopping():
        swallowed(number)
        with pytest.raises(Stopped):
            launching.task_of_job(begun.append)({})
    assert not begun


@pytest.mark.parametrize("number", NUMBERS)
def test_a_mistake_that_a_signal_made_is_that_signal(number, swallowed, monkeypatch, capsys):
    def composes(task, name):
        swallowed(number)
        raise ValueError("Key 'None' is not in struct")

    monkeypatch.setattr(launching, "_run_hydra", composes)
    monkeypatch.setattr(sys, "argv", ["recsys-lora"])
    with pytest.raises(SystemExit) as left:
        launching.launch(print)
    assert left.value.code == 128 + number
    assert capsys.readouterr().err.startswith("interrupted" if number == signal.SIGINT else "terminated")
