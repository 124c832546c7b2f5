"""The demo, from an empty cache: everything is fetched, verified, fitted and trained; the second time all is reused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_lora.report.metrics_json import read_metrics
from tests.jobs import method_of

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1500)]


def demo(folder: Path) -> str:
    """Run the demo with a smaller budget; returns what it printed."""
    rows = ("data.train_rows=16", "data.valid_rows=16", "data.test_rows=32", "evaluation.shuffled_rows=8")
    line = [sys.executable, "-m", "recsys_lora.run", "experiment=demo", "budget=smoke", *rows]
    variables = {**os.environ, "RECSYS_LORA_HOME": str(folder / "home")}
    done = subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def made(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder / "home").rglob("*") if path.is_file()}


def test_the_demo_from_an_empty_cache_and_again(tmp_path):
    printed = demo(tmp_path)
    assert "frozen LLM" in printed
    assert "users shuffled" in printed
    (first,) = (tmp_path / "runs").rglob("metrics.json")
    metrics = read_metrics(first)
    assert method_of(metrics)["rows"] == 32
    assert "SmolLM2" in metrics["llm"]
    before = {path: when for path, when in made(tmp_path).items() if "/artifacts/" in path or "/assets/" in path}
    demo(tmp_path)
    after = {path: when for path, when in made(tmp_path).items() if path in before}
    assert after == before
    (second,) = set((tmp_path / "runs").rglob("metrics.json")) - {first}
    assert method_of(read_metrics(second)) == method_of(metrics)
