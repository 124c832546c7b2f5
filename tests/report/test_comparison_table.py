"""The forms of the table say what the record holds."""

import csv
import io
import shutil

import pytest
from rich.console import Console

from recsys_lora.report.comparison import compare
from recsys_lora.report.comparison_cells import p_value
from recsys_lora.report.comparison_table import as_csv, latex, markdown, on_terminal
from recsys_lora.report.page import records, rewrite, rewritten
from recsys_lora.report.table import number
from recsys_lora.utils.errors import UserError
from tests.report.runs import noisy, run_folder, task_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        run_folder(folder / f"cora{seed}", seed=seed, scored=noisy(seed, 1.5))
    run_folder(folder / "mf", model="mf", scored=noisy(4, 0.2))
    return compare([folder], "python -m recsys_lora.compare runs", task_of, baseline="mf", draws=50)


def test_markdown_has_every_number(made):
    lines = markdown(made).splitlines()
    own = next(line for line in lines if line.startswith("| cora-mf |"))
    row = made.rows[0].tasks["ctr"]
    assert f"| 2 | {number(row.metrics['auc'].mean)} ± {number(row.metrics['auc'].sd)} |" in own
    assert "| .7361, .6884 | – | 1,200 | 320 | 40 | 15s | 20.0 |" in own
    assert next(line for line in lines if line.startswith("| mf |")).endswith("| – | – | – | – |")
    heads = [line for line in lines if line.startswith("| model |") or line.startswith("| minus mf |")]
    assert [line.count("|") for line in heads] == [16, 12]
    assert {line.count("|") for line in lines if line.startswith("|")} == {16, 12}
    gap = row.against.gaps["uauc"]
    low, high = gap.interval
    assert f"{number(gap.value)} [{number(low)}, {number(high)}]" in markdown(made)
    assert "Vicuna-7B, here tiny" in markdown(made)


def test_csv_has_the_numbers_in_full(made):
    first, second = csv.DictReader(io.StringIO(as_csv(made)))
    assert float(first["auc_mean"]) == made.rows[0].tasks["ctr"].metrics["auc"].mean
    assert float(first["wilcoxon_p_holm"]) == made.rows[0].tasks["ctr"].against.wilcoxon.p_holm
    assert (first["seeds"], first["published_own_auc"], first["trained_parameters"]) == ("1 2", "0.7361", "1200")
    assert (second["auc_sd"], second["trained_parameters"], second["minus_auc"]) == ("", "", "")


def test_latex_is_escaped_and_square(made):
    text = latex(
        made.model_copy(update={"rows": [made.rows[0].model_copy(update={"label": "a_b & 5%"}), made.rows[1]]})
    )
    assert r"a\_b \& 5\% & 2 & " in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {14, 10}
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_metrics_cost_and_tests(made, width):
    screen = Console(width=width, record=True, file=io.StringIO())
    for table in on_terminal(made, width):
        screen.print(table)
    shown = screen.export_text()
    assert max(map(len, shown.splitlines())) <= width
    for text in (
        "600 test rows",
        number(made.rows[0].tasks["ctr"].metrics["auc"].mean),
        "1,200",
        ".7361, .6884",
        "ctr: compared with mf",
        "Holm",
    ):
        assert text in shown


def test_what_rows_add_to_a_stack_is_a_table_in_every_form(tmp_path):
    for seed in (1, 2):
        run_folder(tmp_path / str(seed), seed=seed, scored=noisy(seed, 1.5), floor=True)
    made = compare([tmp_path], "python -m recsys_lora.compare runs", task_of, baseline="popularity", draws=30)
    floor, row = made.rows
    found = row.tasks["ctr"].stacked
    gained = [found.gaps[name] for name in ("auc", "uauc")]
    text = markdown(made)
    [line] = [line for line in text.splitlines() if line.startswith("| cora-mf |") and line.count("|") == 8]
    for gap in gained:
        assert f"| {number(gap.value)} [{number(gap.interval[0])}, {number(gap.interval[1])}] |" in line
    assert f"| popularity | – | {number(floor.tasks['ctr'].metrics['auc'].mean)} |" in text
    assert "- stack: a logit model of counts" in text
    assert latex(made).count(r"\begin{tabular}") == 3
    of_floor, own = csv.DictReader(io.StringIO(as_csv(made)))
    assert float(own["stack_gained_auc_low"]) == gained[0].interval[0]
    assert float(own["stack_with_auc_mean"]) == found.included["auc"].mean
    assert (of_floor["label"], of_floor["model"], of_floor["seeds"]) == ("popularity", "", "")
    assert of_floor["stack_gained_auc"] == ""
    screen = Console(width=80, record=True, file=io.StringIO())
    for table in on_terminal(made, 80):
        screen.print(table)
    shown = screen.export_text()
    assert "ctr: what rows add to a stack" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.00001, "<.0001"), (0.0123, ".0123"), (1.0, "1.0000")])
def test_small_p_values_are_bounds(p, text):
    assert p_value(p) == text


@pytest.fixture
def page(tmp_path, made):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text(made.model_dump_json())
    path = tmp_path / "page.md"
    path.write_text("before\n\n<!-- table: results/a.json -->\nold\n<!-- /table -->\n\nafter\n")
    return path


def test_a_page_gets_the_table_of_its_record_and_nothing_else_changes(page, made):
    assert rewrite(page) == 1
    text = page.read_text()
    assert text == f"before\n\n<!-- table: results/a.json -->\n\n{markdown(made)}\n<!-- /table -->\n\nafter\n"
    assert rewritten(page) == text  # a second time changes nothing


def test_two_tables_and_one_that_is_only_shown(page, made):
    shutil.copy(page.parent / "results" / "a.json", page.parent / "results" / "b.json")
    shown = "```\n<!-- table: results/NAME.json -->\n```\n"
    page.write_text(page.read_text() + shown + "<!-- table: results/b.json -->\n<!-- /table -->\n")
    assert rewrite(page) == 2
    assert shown in page.read_text()
    assert page.read_text().count(markdown(made)) == 2
    assert [found.group(1) for found in records(page.read_text())] == ["results/a.json", "results/b.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "no table in it"),
        ("<!-- table: results/a.json -->\n", "has no end"),
        ("<!-- table: results/none.json -->\n<!-- /table -->\n", "not there: write it with"),
        ("<!-- table: results/a.json -->\n<!-- table: results/a.json -->\n<!-- /table -->\n", "within the one before"),
    ],
)
def test_a_page_that_cannot_be_made_is_left_as_it_is(page, text, message):
    page.write_text(text)
    with pytest.raises(UserError, match=message):
        rewrite(page)
    assert page.read_text() == text


def test_a_column_that_no_row_fills_is_left_out(tmp_path):
    run_folder(tmp_path / "a", model="sasrec", cf="sasrec")
    alone = markdown(compare([tmp_path], "python -m recsys_lora.compare runs", task_of))
    assert "warm UAUC | published AUC, UAUC | CoRA's re-run |\n" in alone
    run_folder(tmp_path / "b", cf="din")
    both = markdown(compare([tmp_path], "python -m recsys_lora.compare runs", task_of))
    assert "CoRA's re-run | trained parameters | training rows | steps | training time | prompts/s |\n" in both
