"""The same command gives the same bytes, wherever and by whomever it is given."""

import json
import os
import subprocess
import sys

import pytest

from tests.jobs import SMALL, own_tables, write_tables
from tests.pipeline.test_kill import numbers

pytestmark = pytest.mark.slow
ELSEWHERE = {
    "PYTHONHASHSEED": "7",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
    "TZ": "Asia/Tokyo",
}


def made(place, tables, umask, **variables):
    """Run a command in a folder of its own, with a cache of its own; returns bytes of predictions, and the numbers."""
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "recsys_lora.run", *SMALL, *tables],
        cwd=place,
        env={**os.environ, "RECSYS_LORA_HOME": str(place / "home"), **variables},
        capture_output=True,
        umask=umask,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("ascii" if variables else "utf-8")
    assert not done.returncode, said
    assert "Error" not in said, said  # nor one of logging, which goes on
    [metrics] = place.glob("runs/*/*/metrics.json")
    predictions = (metrics.parent / "predictions_ctr.parquet").read_bytes()
    return predictions, numbers(json.loads(metrics.read_text(encoding="utf-8")))


def test_hash_seed_locale_zone_folder_and_rights_change_nothing(tmp_path):
    interactions, items = own_tables()
    tables = write_tables(tmp_path / "tables", interactions, items)
    assert made(tmp_path / "here", tables, 0o022) == made(tmp_path / "elsewhere", tables, 0o077, **ELSEWHERE)
