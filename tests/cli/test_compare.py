"""`python -m recsys_lora.compare` as it is typed: what it prints, writes and refuses."""

import csv
import json
import re
import shlex
import subprocess
import sys

import pytest

from recsys_lora.cli.compare import main, parser
from recsys_lora.report.comparison_schema import read_comparison
from tests.documents import documents
from tests.report.runs import noisy, run_folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        run_folder(folder / f"cora{seed}", seed=seed, scored=noisy(seed, 1.5))
    run_folder(folder / "mf", model="mf", scored=noisy(4, 0.2))
    return folder


def test_all_forms_at_once_are_of_one_comparison(runs, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: all.json -->\n<!-- /table -->\n")
    files = {name: tmp_path / f"all.{name}" for name in ("csv", "markdown", "latex", "json")}
    forms = [argument for name, path in files.items() for argument in (f"--{name}", str(path))]
    main([str(runs), "--baseline", "MF", "--draws", "20", "--page", str(page), *forms])
    record = read_comparison(files["json"])
    printed = capsys.readouterr().out
    assert "compared with mf" in printed
    assert "tables rewritten: 1" in printed
    assert (record.baseline, record.draws, [row.label for row in record.rows]) == ("mf", 20, ["cora-mf", "mf"])
    assert float(next(csv.DictReader(files["csv"].open()))["auc_mean"]) == record.rows[0].auc.mean
    assert files["markdown"].read_text() in page.read_text()
    assert r"\toprule" in files["latex"].read_text()
    assert str(tmp_path) not in files["json"].read_text()
    assert f"--baseline MF --draws 20 --page .../{page.name}" in record.command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: nowhere: no such folder: give run folders, or folders that hold runs"),
        (["--page", "nowhere.md"], "error: nowhere.md: no such page: give a Markdown file"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.splitlines() == [message]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give run folders, or --page"),
        (["x", "--draws", "-1"], "0 or more"),
        (["x", "--draws", "many"], "invalid whole_number value"),
        (["x", "--warm", "hot"], "invalid choice"),
    ],
)
def test_a_wrong_command_line_says_how_it_goes(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_help_needs_no_heavy_import():
    code = "import sys, recsys_lora.cli.compare as c; c.parser().format_help(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "scipy", "polars", "hydra", "omegaconf", "pydantic"} & set(json.loads(done.stdout))


def test_comparing_needs_no_torch(runs):
    code = "import sys; from recsys_lora.cli.compare import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    line = [sys.executable, "-c", code, str(runs), "--baseline", "mf", "--draws", "5"]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "False"


def test_commands_in_the_documentation_are_understood():
    lines = [
        line
        for path in documents()
        for line in re.findall(r"^(?:\$ )?python -m recsys_lora\.compare (.*)$", path.read_text(), re.MULTILINE)
    ]
    assert len(lines) >= 3
    for line in lines:
        parser().parse_args(shlex.split(line, comments=True))
