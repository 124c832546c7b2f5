"""report.html of whole runs: complete, self-contained, small, and safe whatever the data holds."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from recsys_lora.cli.report import main
from recsys_lora.report.metrics_json import read_metrics
from recsys_lora.report.runs import read_run
from recsys_lora.report.table import cell
from recsys_lora.report.visual.page import names_of, of_run, of_runs
from recsys_lora.tasks.lines import SCORE, read_lines
from tests.jobs import NO_METHOD, SMALL, own_tables, run, write_tables
from tests.report.runs import noisy, run_folder

EVIL = "<script>alert('é')</script><img src=x onerror=alert(1)> & \"quotes\""


class Page(HTMLParser):
    """Checks that tags are closed in order, and keeps them, their attributes and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of CoRA on titles that are markup."""
    place = tmp_path_factory.mktemp("visual")
    interactions, items = own_tables()
    items = items.with_columns(title=pl.format("{} {}", pl.lit(EVIL), pl.col("item_id")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(place / "home"))
        run(place / "run", *SMALL, "data.test_rows=200", *write_tables(place, interactions, items))
    return place / "run"


def self_contained(text: str) -> Page:
    page = Page(text)
    assert len(text.encode()) < 1_000_000
    assert not re.search(r"https?:|url\(|@import", text)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset")]
        assert (attributes.get("href") or "#").startswith("#")
    return page


def test_a_run_has_a_page_with_all_parts(folder):
    page = self_contained((folder / "report.html").read_text())
    headings = [text for text in page.texts if text.strip()]
    for part in ("Results", "Training", "ctr: slices", "ctr: where CF and LLM disagree", "Cost", "Configuration"):
        assert part in headings
    for title in ("ROC", "Calibration", "AUC by user", "Loss", "Validation", "CF model: loss", "Time by stage"):
        assert title in headings
    assert sum(tag == "svg" and attributes.get("role") == "img" for tag, attributes in page.tags) >= 12
    texts = set(page.texts)
    for line in read_metrics(folder / "metrics.json")["tasks"]["ctr"]["lines"]:
        assert line["name"] in texts
        assert all(cell(metric) in texts for metric in line["metrics"].values())
    assert any("rank: 4" in text for text in texts)  # of the config


def test_titles_are_text(folder):
    text = (folder / "report.html").read_text()
    assert "<script" not in text
    assert "onerror=alert(1)&gt;" in text
    assert any(EVIL in part for part in Page(text).texts)


def test_links_lead_to_headings(folder):
    page = Page((folder / "report.html").read_text())
    links = {attributes["href"].removeprefix("#") for tag, attributes in page.tags if tag == "a"}
    assert links == {attributes["id"] for tag, attributes in page.tags if tag == "h2"}


def test_the_lines_are_those_of_the_table(folder):
    table = read_lines(folder / "lines_ctr.parquet")
    lines = [
        line["name"] for line in read_metrics(folder / "metrics.json")["tasks"]["ctr"]["lines"] if not line["sample"]
    ]
    assert sorted(column.removeprefix(SCORE) for column in table.columns if column.startswith(SCORE)) == sorted(lines)
    predictions = pl.read_parquet(folder / "predictions_ctr.parquet")
    assert table["user_id"].to_list() == predictions["user_id"].to_list()
    assert table["score of cora"].to_list() == predictions["score"].to_list()
    assert table["title"][0].endswith(table["item_id"][0])


def test_a_run_without_scores_of_its_lines_has_the_rest(tmp_path):
    made = run_folder(tmp_path / "a", tasks=("ctr", "topk", "rating", "explanation"))
    page = self_contained(of_run(read_run(made)))
    assert "ctr: slices" not in page.texts
    assert any("No curves are in this run's folder" in text for text in page.texts)
    assert {"topk", "explanation"} <= set(page.texts)


def test_questions_of_one_class_are_not_ranked(folder, tmp_path):
    made = shutil.copytree(folder, tmp_path / "run")
    table = read_lines(made / "lines_ctr.parquet").with_columns(label=pl.lit(1.0, pl.Float32))
    table.write_parquet(made / "lines_ctr.parquet")
    page = self_contained(of_run(read_run(made, typed=False)))
    assert "All questions have the same answer: nothing is ranked." in page.texts
    assert "ROC" not in page.texts


def test_a_cf_model_alone_has_a_page_without_disagreement(tmp_path, home):
    run(tmp_path / "run", *NO_METHOD, "model=cf", *write_tables(tmp_path, *own_tables()))
    page = self_contained((tmp_path / "run" / "report.html").read_text())
    assert {"ROC", "CF model: loss", "ctr: slices"} <= set(page.texts)
    assert "ctr: where CF and LLM disagree" not in page.texts


@pytest.fixture
def several(tmp_path):
    for seed in (1, 2):
        run_folder(tmp_path / f"cora{seed}", seed=seed, scored=noisy(seed, 1.5), tasks=("ctr", "topk"))
    run_folder(tmp_path / "mf", model="mf", scored=noisy(4, 0.2))
    (run_folder(tmp_path / "running", seed=9) / "metrics.json").unlink()
    return tmp_path


def test_several_runs_stand_beside_each_other(several, capsys, monkeypatch):
    monkeypatch.chdir(several)
    main([str(several)])
    page = self_contained(Path("report.html").read_text())
    assert {"cora-mf, seed 1", "cora-mf, seed 2", "mf", "ctr", "topk", "Cost"} <= set(page.texts)
    assert "left out, without results: running" in page.texts
    said = capsys.readouterr().out
    assert "left out, without results: running" in said
    assert "report.html: " in said


def test_scores_of_several_runs_on_the_same_questions_are_drawn_together(folder, tmp_path):
    one = read_run(folder, typed=False)
    text = of_runs([one, one])
    page = self_contained(text)
    assert {"ROC", "Calibration", "AUC by user"} <= set(page.texts)
    assert "not drawn" not in text


def test_runs_are_called_by_what_sets_them_apart(several):
    folders = [several / name for name in ("cora1", "cora2", "mf")]
    runs = [read_run(path) for path in folders]
    assert names_of(runs) == ["cora-mf, seed 1", "cora-mf, seed 2", "mf"]
    assert names_of(runs[1:]) == ["cora-mf", "mf"]
    again = read_run(run_folder(several / "again", seed=1))
    assert names_of([runs[0], again]) == ["cora-mf, cora1", "cora-mf, again"]


def test_one_run_gets_its_page_in_its_folder(several):
    main([str(several / "mf")])
    assert (several / "mf" / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_run_folder_that_cannot_be_written_names_the_option(several, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != several / "mf")
    with pytest.raises(SystemExit):
        main([str(several / "mf")])
    assert "report.html: nothing can be written into the run's folder: name another" in capsys.readouterr().err
    main([str(several / "mf"), "--out", str(several / "page.html")])
    assert (several / "page.html").is_file()


def test_a_mistake_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main([str(tmp_path / "nowhere")])
    assert left.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
