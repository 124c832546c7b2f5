"""Stage 4: every line of the final table is a set of scores of the same rows, cached like any other result."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.module import PromptData
from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.evaluation.predictions import Predictions, read_predictions, write_predictions
from recsys_lora.evaluation.trivial import ItemMean
from recsys_lora.files import read_json, write_json
from recsys_lora.methods.llm_module import LLMRecommender
from recsys_lora.methods.scoring import score_rows
from recsys_lora.methods.zero_shot import ZeroShot
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.config import Config, build
from recsys_lora.pipeline.method import Method

Scores = NDArray[np.float64]
FILE, TIME_FILE = "predictions.parquet", "scoring.json"
SHUFFLE_SEED = 0


class TestRows:
    """The test rows of a run, and what scores them.

    Args:
        config: the run's.
        store: the cache.
        data: the prepared data set.

    Attributes:
        rows: the test rows.
        scoring: what `method` took when it really scored: rows, seconds, rows_per_second; None before it is called,
            and where a cached result of an earlier version does not tell it.
    """

    __test__ = False  # no pytest class

    def __init__(self, config: Config, store: ArtifactStore, data: PreparedData) -> None:
        node = config["data"]
        self.config, self.store, self.data = config, store, data
        self.sample = [node["test_rows"], node["sample_seed"]]
        self.rows = data.sample("test", *self.sample)
        self.scoring: dict[str, Any] | None = None

    def shuffled_sample(self) -> Rows:
        """Return the fixed part of the test rows on which users' vectors are shuffled."""
        size = min(self.config["evaluation"]["shuffled_rows"], len(self.rows))
        drawn = np.random.default_rng(self.sample[1]).choice(len(self.rows), size, replace=False)
        return self.rows.take(np.sort(drawn))

    def popularity(self) -> Predictions:
        """Score by item-mean popularity over all train rows."""
        train = self.data.rows("train")
        scores = ItemMean.fit(train.item, train.label, self.data.num_items).score(self.rows.item)
        return self.of(self.rows, scores)

    def of(self, rows: Rows, scores: Scores) -> Predictions:
        """Pair rows with their scores."""
        return Predictions.of(rows, scores, self.data, "test")

    def method(self, method: Method) -> Predictions:
        """Score with the method of the run."""
        depends = {"method": method.key}
        folder = self._folder(method.module.name, depends, self.rows, lambda: self._score(method, self.rows, None))
        self.scoring = read_json(folder / TIME_FILE) if (folder / TIME_FILE).is_file() else None
        return read_predictions(folder / FILE)

    def shuffled(self, method: Method, rows: Rows) -> Predictions:
        """Score with every user's vectors exchanged for another's, the prompt left as it is."""
        depends = {"method": method.key, "shuffled": [len(rows), SHUFFLE_SEED]}
        return self._cached(
            f"{method.module.name}-shuffled", depends, rows, lambda: self._score(method, rows, SHUFFLE_SEED)
        )

    def frozen(self, module: LLMRecommender) -> Predictions:
        """Score with the language model alone, the method's layers switched off.

        It reads the method's own prompts where they are text, and those of `evaluation.prompt` where only the method
        could fill them.
        """
        backbone, words = module.backbone, self.config["data"]["wording"]
        plain = module.prompt.is_text(words)
        node = self.config["model" if plain else "evaluation"]["prompt"]
        prompt = module.prompt if plain else build(node, "evaluation.prompt")

        def score() -> Scores:
            alone = ZeroShot(name="frozen LLM", prompt=prompt, score=module.score, backbone=backbone)
            datamodule = alone.datamodule(
                self.data, words, seed=0, token_budget=self.config["evaluation"]["token_budget"]
            )
            with module.disabled():
                return score_rows(alone, datamodule, self.rows)

        depends = {"backbone": backbone.identity, "dtype": str(backbone.dtype), "score": module.score}
        depends |= {"prompt": node, "wording": words}
        return self._cached("frozen_llm", depends, self.rows, score)

    def _score(self, method: Method, rows: Rows, shuffle: int | None) -> Scores:
        module, datamodule = cast(LLMRecommender, method.module), cast(PromptData, method.datamodule)
        return score_rows(module, datamodule, rows, shuffle_users=shuffle)

    def _cached(self, name: str, depends: Mapping[str, Any], rows: Rows, score: Callable[[], Scores]) -> Predictions:
        """Return the predictions of `rows`, from the cache where the same scorer has scored the same rows."""
        return read_predictions(self._folder(name, depends, rows, score) / FILE)

    def _folder(self, name: str, depends: Mapping[str, Any], rows: Rows, score: Callable[[], Scores]) -> Path:
        """Return the artifact that holds the predictions of `rows` and what scoring them took."""

        def make(folder: Path) -> None:
            begun = time.monotonic()
            scores = score()
            write_json(folder / TIME_FILE, took(len(rows), time.monotonic() - begun))
            predictions = self.of(rows, scores)
            write_predictions(folder / FILE, predictions, self.data.raw_user_ids, self.data.raw_item_ids)

        every = {**depends, "data": self.data.key, "rows": self.sample}
        return self.store.get("test", f"{name}-{self.data.manifest['name']}", every, make, together=True).folder


def took(rows: int, seconds: float) -> dict[str, Any]:
    """Return the record of a scoring that took so many seconds, as metrics.json has it."""
    rate = rows / seconds if seconds > 0 else 0.0
    return {"rows": rows, "seconds": round(seconds, 3), "rows_per_second": round(rate, 3)}
