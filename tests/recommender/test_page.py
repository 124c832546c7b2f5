"""The code of docs/using_a_run.md and of the README, run as a reader would run it."""

import polars as pl

from tests.documents import FENCE, ROOT
from tests.jobs import SMALL, own_tables, run, write_tables

NAMES = {"u1": "196", "u2": "186", "i1": "50", "i2": "181", "i3": "258"}


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RECSYS_LORA_HOME", str(tmp_path / "home"))
    interactions, items = own_tables()
    interactions = interactions.filter(pl.int_range(pl.len()) % 2 == 0).with_columns(
        pl.col("user_id", "item_id").replace(NAMES)
    )
    tables = write_tables(tmp_path, interactions, items.with_columns(pl.col("item_id").replace(NAMES)))
    run(tmp_path / "runs" / "2026", *SMALL, *tables)
    text, readme = (
        (ROOT / page).read_text().replace("runs/cora_tuned-ml_100k", str(tmp_path / "runs"))
        for page in ("docs/using_a_run.md", "README.md")
    )
    [first] = [body for language, body in FENCE.findall(readme) if language == "python"]
    exec(compile(first, "README.md", "exec"), {})
    blocks = [body for language, body in FENCE.findall(text) if language == "python"]
    assert len(blocks) == 3
    space: dict = {}
    for block in blocks:
        exec(compile(block, "docs/using_a_run.md", "exec"), space)
    r = space["r"]
    assert r.recommend("newcomer", k=3).height == 3
    assert set(r.recommend(None, history=[])["by"]) == {"popularity"}
    columns = text.partition("| column | is |")[2].partition("\n\n")[0]
    assert [name for name in r.score([("196", "50")]).columns if f"`{name}`" not in columns] == []
