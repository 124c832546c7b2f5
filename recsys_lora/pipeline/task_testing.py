"""Stage 4 for models of several tasks: every line of a task's table answers the same questions, cached as results."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.methods.ckf.answering import Answering
from recsys_lora.methods.ckf.module import CKFMultiTaskModule
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.config import Config
from recsys_lora.pipeline.method import Method
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.predictions import Raw, read_answers, warmth_of, write_answers
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.record import Answered, task_record
from recsys_lora.tasks.task import Output, Version

FILE = "predictions.parquet"
SHUFFLE_SEED = 0


class TaskTests:
    """The test questions of a run, and what answers them.

    Args:
        config: the run's.
        store: the cache.
        data: the prepared data set.
        collaborative: the fitted encoder.
        method: the trained model of several tasks.
    """

    def __init__(
        self, config: Config, store: ArtifactStore, data: PreparedData, collaborative: Collaborative, method: Method
    ) -> None:
        self.config, self.store, self.data, self.collaborative = config, store, data, collaborative
        self.key, self.module = method.key, cast(CKFMultiTaskModule, method.module)
        self.datamodule = cast(TaskData, method.datamodule)
        self.answering = Answering(self.module, self.datamodule)
        node = config["data"]
        self.sample = [node["test_rows"], node["sample_seed"]]
        self.questions = {
            name: self.datamodule.questions(name, "test", node["test_rows"]) for name in self.datamodule.tasks
        }

    def records(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Answer and measure every task; each one's predictions go into the run's folder.

        Returns:
            What metrics.json holds under `tasks`.
        """
        settings = self.config["evaluation"]
        lines = {name: list(self._own_lines(name, folder)) for name in self.questions if len(self.questions[name])}
        if settings["zero_shot"]:
            for name in lines:
                lines[name].append(Answered("frozen LLM", "frozen_llm", self._frozen(name)))
        return {
            name: task_record(
                self.datamodule.tasks[name],
                self.questions[name],
                answered,
                warmth_of(self.data, self.questions[name]),
                settings["warm"],
                settings["draws"],
            )
            for name, answered in lines.items()
        }

    def _own_lines(self, name: str, folder: Path) -> Iterator[Answered]:
        """Yield all lines but the frozen language model's."""
        questions, task, own = self.questions[name], self.datamodule.tasks[name], self.module.name
        train = self.datamodule.questions(name, "train", None)
        for label, output in task.trivial(self.data, self.datamodule.scale, questions, train).items():
            yield Answered(label, "trivial", output)
        if task.encoder_answers:
            scores = task.from_encoder(self._encoder_scores(questions))
            yield Answered(self.collaborative.name, "cf", scores)
        yield Answered(f"{own}, text alone", "method_text", self._method(name, questions, "text", None))
        raw = self._raw(name, questions, "collaborative", None)
        write_answers(folder / f"predictions_{name}.parquet", self.data, "test", questions, raw)
        yield Answered(own, "method", self._output(name, questions, raw))
        size = min(self.config["evaluation"]["shuffled_rows"], len(questions))
        drawn = np.random.default_rng(self.sample[1]).choice(len(questions), size, replace=False)
        places = np.sort(drawn)
        if task.kind == "choice" and len(np.unique(questions.user[places])) > 1:
            output = self._method(name, questions.take(places), "collaborative", SHUFFLE_SEED)
            yield Answered(f"{own}, users shuffled", "method_shuffled", output, places)

    def _encoder_scores(self, questions: Questions) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the encoder's own logits of all candidates (n, C), -inf at padding."""
        real = questions.items > 0
        row, column = np.nonzero(real)
        asked = questions.take(row)
        zeros = np.zeros(len(row))
        rows = Rows(
            row=asked.row,
            user=asked.user,
            item=questions.items[row, column],
            label=asked.label,
            rating=zeros.astype(np.float32),
            timestamp=zeros.astype(np.int64),
            position=asked.position,
            seen=zeros.astype(np.bool_),
        )
        scores = np.full(questions.items.shape, -np.inf)
        scores[row, column] = self.collaborative.score(self.data, rows)
        return scores

    def _method(self, name: str, questions: Questions, version: Version, shuffle: int | None) -> Output:
        return self._output(name, questions, self._raw(name, questions, version, shuffle))

    def _output(self, name: str, questions: Questions, raw: Raw) -> Output:
        return self.datamodule.tasks[name].predict(raw, questions, self.datamodule.scale)

    def _raw(self, name: str, questions: Questions, version: Version, shuffle: int | None) -> Raw:
        depends = {"method": self.key, "version": version, "shuffled": shuffle, "questions": len(questions)}
        label = f"{self.module.name}-{version}" + ("" if shuffle is None else "-shuffled")
        return self._cached(
            name, label, depends, questions, lambda: self.answering(name, questions, version, shuffle_users=shuffle)
        )

    def _frozen(self, name: str) -> Output:
        """Answer with the language model alone, on prompts of text alone."""
        questions, backbone = self.questions[name], self.module.backbone
        depends = {
            "backbone": backbone.identity,
            "dtype": str(backbone.dtype),
            "task": self.config["model"]["tasks"][name],
            "wording": self.config["data"]["wording"],
            "scale": self.config["data"]["rating_scale"],
        }

        def answer() -> Raw:
            with self.module.disabled():
                return replace(self.answering, name="frozen LLM")(name, questions, "text")

        return self._output(name, questions, self._cached(name, "frozen_llm", depends, questions, answer))

    def _cached(
        self, name: str, label: str, depends: Mapping[str, Any], questions: Questions, answer: Callable[[], Raw]
    ) -> Raw:
        """Return the answers to `questions`, from the cache where the same model has answered the same ones."""

        def make(folder: Path) -> None:
            write_answers(folder / FILE, self.data, "test", questions, answer())

        every = {**depends, "task_name": name, "data": self.data.key, "rows": self.sample}
        artifact = self.store.get("test", f"{label}-{name}-{self.data.manifest['name']}", every, make, together=True)
        return read_answers(artifact.folder / FILE, questions)
