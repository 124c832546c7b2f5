"""The parts of `make test-long` that need no hour: few tries of each end, and their counts are printed."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_parts_run_one_after_the_other_and_print_their_counts():
    command = [sys.executable, "-m", "tests.long", "fuzz", "odd", "--share", "0.001"]
    done = subprocess.run(command, stdout=-1, text=True, timeout=500, check=True)
    assert [line.split()[1] for line in done.stdout.splitlines() if " | tries | " in line] == ["fuzz", "odd"]
    assert done.stdout.count(" 0 broke") == 2
