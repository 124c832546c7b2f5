"""A CoRA pair and a TALLRec adapter on a real backbone, in peft."""

import pytest
import torch
from peft import PeftModel

import recsys_lora
from recsys_lora.assets.fetch import fetch
from recsys_lora.assets.registry import SMOLLM2_135M
from recsys_lora.export.adapter import Selection
from recsys_lora.export.export import export
from recsys_lora.llm.fetched import FetchedSource
from recsys_lora.llm.gguf import converted
from recsys_lora.llm.source import from_pretrained
from tests.export.test_export import answer
from tests.jobs import NO_METHOD, SMALL, own_tables, run, write_tables

pytestmark = [pytest.mark.slow, pytest.mark.network]
FEW = ("llm=smollm2_135m", "llm.dtype=float32", "data.train_rows=16", "data.valid_rows=12", "test=false")
LINES = {
    "cora": (*(line for line in SMALL if line != "llm=tiny"), "model.optimizer.lr=0.01"),
    "tallrec": (*(line for line in NO_METHOD if line != "llm=tiny"), "model=tallrec", "model.batch_size=8"),
}


@pytest.mark.parametrize("name", LINES)
def test_peft_gives_the_runs_scores_on_smollm2(tmp_path, name):
    """The adapter's scores are the run's within 1e-4, and not those of the backbone alone."""
    folder = tmp_path / "run"
    run(folder, *LINES[name], *FEW, *write_tables(tmp_path, *own_tables()))
    recommender = recsys_lora.load(folder, device="cpu")
    right = recommender.score([("u3", "i7")])["score"][0]
    made = export(recommender, "peft", tmp_path / "adapter", Selection("u3", "i7"))
    place = converted(FetchedSource("smollm2_135m").sha256, lambda: fetch(SMOLLM2_135M))
    model, _ = from_pretrained(str(place), "llm", local_files_only=True, dtype=torch.float32)
    alone = answer(model.eval(), made)
    assert abs(answer(PeftModel.from_pretrained(model, str(made)).eval(), made) - right) < 1e-4
    assert abs(alone - right) > 1e-3
