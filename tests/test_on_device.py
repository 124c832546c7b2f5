"""`python -m tests.on_device`, the command for a GPU, does on a CPU what it can and says what it leaves out."""

import os
import re
import shlex
import time

import pytest
import torch

from recsys_lora.config.paths import options
from recsys_lora.utils.errors import UserError
from tests.documents import documents
from tests.on_device.__main__ import FAILED, OK, SKIPPED, late, main, one, parser
from tests.on_device.checks import KILLED, TOLERANCES, every_check
from tests.on_device.kill import Resumed
from tests.on_device.place import CheckError, Place, near, placed, refused

CPU = ("--device", "cpu")
LEFT_OUT_ON_A_CPU = {
    "float32 against the CPU's float32": "there is no GPU: the CPU's own scores are what it is compared with",
    "llm.quantise=int8": "bitsandbytes is not installed",
    "llm.quantise=nf4": "bitsandbytes is not installed",
    "llm.compiled": "there is no C++ compiler here",
    "pytest -m gpu": "there is no GPU",
}


def test_commands_in_the_documentation_are_understood():
    text = "\n".join(path.read_text() for path in documents())
    lines = re.findall(r"^python -m tests\.on_device (.*)$", text, re.MULTILINE)
    lines += re.findall(r"^make test-gpu ARGS='(.*)'", text, re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        parser().parse_args(shlex.split(line, comments=True))


def results(lines):
    return {name: (result, detail) for name, result, _, detail in lines}


def test_some_checks_on_a_cpu_and_what_they_say(capsys):
    home = os.environ.get("RECSYS_LORA_HOME")
    asked = ("row=mf", "fsdp", "float16 against", "pytest")
    found = results(main([*CPU, *(part for text in asked for part in ("--only", text))]))
    assert os.environ.get("RECSYS_LORA_HOME") == home
    assert found["row=mf"][0] == OK
    assert "one device has nothing to spread" in found["trainer=fsdp on one device"][1]
    for dtype in ("bfloat16", "float16"):
        result, detail = found[f"{dtype} against the CPU's float32"]
        assert result == OK
        assert f"allowed {TOLERANCES[dtype]:.0e}" in detail
        assert "differ by 0.0e+00" not in detail  # it was really computed in another dtype
    assert found["pytest -m gpu"] == (SKIPPED, "there is no GPU")
    printed = capsys.readouterr().out
    assert f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}, llm=tiny" in printed
    assert ": 4 ok, 1 skipped, 0 failed" in printed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_checks_on_a_cpu():
    found = results(main([*CPU, "--minutes", "25"]))
    assert {f"row={row}" for row in options("row")} < set(found)
    left_out = {name: detail for name, (result, detail) in found.items() if result != OK}
    assert left_out.items() <= LEFT_OUT_ON_A_CPU.items()
    assert found[KILLED][1].startswith("from step ")


def test_a_check_that_fails_is_told_with_its_reason_and_ends_the_command_with_1(tmp_path, monkeypatch, capsys):
    def wrong(place):
        raise RuntimeError("Expected all tensors to be on the same device\nmore of it")

    monkeypatch.setattr("tests.on_device.__main__.every_check", lambda resumed: {"a": wrong, "b": lambda place: "fine"})
    with pytest.raises(SystemExit) as left:
        main([*CPU, "--folder", str(tmp_path)])
    assert left.value.code == 1
    printed = capsys.readouterr().out
    assert "RuntimeError: Expected all tensors" in printed
    assert "1 ok, 0 skipped, 1 failed" in printed
    assert "Traceback" in (tmp_path / "said" / "a.txt").read_text()


def test_no_check_begins_after_the_minutes(monkeypatch, capsys):
    slow = {"a": lambda place: time.sleep(0.1) or "", "b": lambda place: pytest.fail("it began")}
    monkeypatch.setattr("tests.on_device.__main__.every_check", lambda resumed: slow)
    lines = main([*CPU, "--minutes", "0.001"])
    assert [line[1] for line in lines] == [OK, SKIPPED]
    assert lines[1] == late("b", 0.001)


def test_what_is_not_on_the_device_fails(tmp_path):
    place = Place(tmp_path, "cuda", "tiny")
    module = torch.nn.Linear(1, 1)
    module.backbone = type("Backbone", (), {"model": torch.nn.Linear(1, 1)})
    line = {"role": "method", "sample": False, "metrics": {"auc": {"value": 0.5}}, "parts": {"seen": {}}}
    metrics = {"tasks": {"ctr": {"rows": 1, "warm_definition": "seen", "lines": [line]}}}
    outcome = type("Outcome", (), {"method": type("Method", (), {"module": module}), "metrics": metrics})
    assert one("a", lambda place: placed(outcome, "cpu"), place)[1:4:2] == (OK, "AUC 0.500")
    assert one("b", lambda place: placed(outcome, "cuda"), Place(tmp_path, "cpu", "tiny"))[1] == FAILED


def test_scores_that_are_far_or_no_numbers_fail():
    one_and_two = torch.tensor([1.0, -2.0])
    assert near(one_and_two + 0.001, one_and_two, 1e-3).startswith("scores differ by 5.0e-04")
    for other in (one_and_two + 0.01, one_and_two * torch.nan):
        with pytest.raises(CheckError, match="of the largest at most, allowed 1e-03"):
            near(other, one_and_two, 1e-3)
    with pytest.raises(CheckError, match="refused, but not for this"):
        refused(UserError("that"), "this")


def test_processes_beside_the_checks_end_with_the_command(tmp_path, monkeypatch):
    place = Place(tmp_path, "cpu", "tiny")
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "before"))
    place.enter()
    with Resumed(place) as resumed:
        resumed.begin()
        while resumed.running is None:
            time.sleep(0.01)
    assert resumed.running.poll() is not None
    assert KILLED in every_check(resumed)
