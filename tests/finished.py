"""Finished runs that tests load; each is trained once."""

import functools
import shutil

import polars as pl
import pytest

import recsys_lora
from tests.jobs import NO_METHOD, SMALL, SMALL_TASKS, own_tables, run, with_reviews, write_tables

LORA = (*NO_METHOD, "model.batch_size=8", "model.rank=4")
OFFSET = ("model.offset=cf", "model.optimizer.lr=0.02")
RUNS = {
    "cora": SMALL,
    "cora-suffix": (*SMALL, "model.scope=suffix"),
    "cora-share": (*SMALL, "cf=mf", "cf.train_share=0.6"),
    "cora-rated": (*SMALL, "model.prompt.history=rated", "model.prompt.item='{title}, {rating} stars'"),
    "cora-din": (*SMALL, "cf=din"),
    "cora-offset": (*SMALL, "cf=mf", "cf.encoder.biases=true", "cf.encoder.unseen=history", *OFFSET),
    "cora-tuned": (*SMALL, "model=cora_tuned", "cf=mf", "cf.train_share=0.6", *OFFSET),
    "cora-user": (*SMALL, "cf=mf", "cf.train_share=0.6", "model.generator.input=user"),
    "cora-din-user": (*SMALL, "cf=din", "model.generator.input=user"),
    "ckf": SMALL_TASKS,
    "tallrec": (*LORA, "model=tallrec"),
    "collm": (*LORA, "model=collm", "cf=lightgcn"),
    "binllm": (*LORA, "model=binllm", "cf=binary_mf"),
    "graphlora": (*LORA, "model=graphlora", "cf=mf"),
    "person_prompt": (*LORA, "model=person_prompt"),
    "prompt4nr": (*LORA, "model=prompt4nr"),
    "icl": (*NO_METHOD, "model=icl"),
    "text_similarity": (*NO_METHOD, "model=text_similarity"),
    "zero_shot": (*NO_METHOD, "model=zero_shot"),
    "mf": (*NO_METHOD, "row=mf"),
}


class Runs:
    """Runs by name, made when first asked for."""

    def __init__(self, folder):
        every, self.items = own_tables()
        met = (pl.int_range(pl.len()) * 7 % 5 > 1) | (pl.col("item_id") == "i29")  # three of five, and the cold item
        self.folder, self.interactions = folder, with_reviews(every.filter(met))
        self.tables = write_tables(folder / "tables", self.interactions, self.items)
        self.outcomes = {}

    def __call__(self, name):
        """Return the folder of a run."""
        if name not in self.outcomes:
            self.outcomes[name] = run(self.folder / "runs" / name, *RUNS[name], *self.tables)
        return self.folder / "runs" / name


@pytest.fixture(scope="session", name="runs")
def finished_runs(tmp_path_factory):
    """Finished runs, for the tests of the folder whose conftest imports this."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_LORA_HOME", str(folder / "home"))
        yield Runs(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def loaded(runs):
    """What loads a run, once; no test changes what it returns."""
    return functools.cache(lambda name: recsys_lora.load(runs(name)))
