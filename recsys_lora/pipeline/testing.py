"""Stage 4: answer the same questions for every line of a task's table; answers are cached like any other result."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recsys_lora.config.edge import build
from recsys_lora.config.record import RunConfig
from recsys_lora.data.prepared import PreparedData
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.stack import can_be_fitted
from recsys_lora.methods.answering import Answering
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.methods.zero_shot import ZeroShot
from recsys_lora.pipeline.artifacts import ArtifactStore
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.method import Method
from recsys_lora.tasks.lines import file_name as lines_file
from recsys_lora.tasks.lines import write_lines
from recsys_lora.tasks.predictions import file_name, output_of, read_table, warm_flags, write_predictions
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.record import Answered, Role, task_record
from recsys_lora.tasks.stacking import stacked
from recsys_lora.tasks.task import CTR, Output, Task, Version
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.files import read_json, write_json
from recsys_lora.utils.words import counted

log = logging.getLogger(__name__)

_FILE, _TIME_FILE = "predictions.parquet", "scoring.json"
_SHUFFLE_SEED = 0


def _refuse_namesakes(task: str, answered: Sequence[Answered]) -> None:
    names = [line.name for line in answered if line.sample is None]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{task}: two lines of its table are called {twice[0]}: choose another model.name or cf.name")


@dataclass(frozen=True)
class EvaluationRows:
    """The test questions of a run, and the models that answer them.

    Attributes:
        config: the run's.
        store: the cache.
        data: the prepared data set.
        tasks: the run's tasks, by name.
        collaborative: the fitted encoder, if the run has one.
        method: the trained method; None if the run is about the encoder itself.
        scoring: the time the method took to answer each task when it was computed; filled in by `records`.
    """

    config: RunConfig
    store: ArtifactStore
    data: PreparedData
    tasks: Mapping[str, Task]
    collaborative: Collaborative | None
    method: Method | None
    scoring: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Seed of all samples of questions."""
        return self.config.data.sample_seed

    @cached_property
    def questions(self) -> dict[str, Questions]:
        """The test questions of each task."""
        node = self.config.data
        asked = self.data if node.test_users is None else self.data.with_test_users(node.test_users, self.seed)
        return {name: task.questions(asked, "test", node.test_rows, self.seed) for name, task in self.tasks.items()}

    @cached_property
    def _train(self) -> dict[str, Questions]:
        asked = {name: self.tasks[name] for name, questions in self.questions.items() if len(questions)}
        return {name: task.questions(self.data, "train", None, self.seed) for name, task in asked.items()}

    def records(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Answer and measure every task; each one's predictions go into the run's folder.

        Returns:
            The contents of `tasks` in metrics.json.
        """
        settings = self.config.evaluation
        records = {}
        for name, questions in self.questions.items():
            if not len(questions):
                continue
            answered = [*self._baselines(name, questions), *self._own_lines(name)]
            _refuse_namesakes(name, answered)
            own = next(line for line in answered if line.role == "method")
            write_predictions(folder / file_name(name), self.data, "test", questions, own.output)
            flags, lines = warm_flags(self.data, questions), [*answered, *self._stacks(name, answered, own.name)]
            if self.tasks[name].is_binary or self.tasks[name].stacked:  # for figures, for comparisons
                write_lines(folder / lines_file(name), self.data, questions, lines)
            record = task_record(self.tasks[name], questions, lines, flags, settings.warm, settings.draws)
            records[name] = {**record, "scoring": self.scoring.get(name)}
        return records

    def _stacks(self, name: str, answered: Sequence[Answered], own: str) -> list[Answered]:
        """Return the stacks of a task's lines, fitted on the validation questions that select the method."""
        task, rows = self.tasks[name], self.config.data.valid_rows
        if not task.stacked or not self.config.evaluation.stack:
            return []
        valid = task.questions(self.data, "valid", rows, self.seed)
        known = {line.name: line.output for line in self._baselines(name, valid)}
        if unknown := [other for other in task.stacked if other not in known]:
            raise UserError(f"task {name}: stacked names {unknown[0]}, which is no baseline of it: correct the class")
        others = [*task.stacked, *(line.name for line in answered if line.role == "cf")]
        if not can_be_fitted([np.asarray(known[other]) for other in others], valid.target):
            log.info("%s: no stacks: nothing can be learned from %s", name, counted(len(valid), "validation question"))
            return []
        if self.method is not None:
            first = self.method.datamodule.prompts[name].reading.answered
            known[own] = output_of(read_table(self._folder(name, valid, first, split="valid") / _FILE))
        called = own if self.method is None else self.method.module.name
        return stacked(others, own, called, known, valid.target, {line.name: line.output for line in answered})

    def _baselines(self, name: str, questions: Questions) -> Iterator[Answered]:
        """Yield the lines of models that read no prompts: simple baselines, and the collaborative encoder."""
        task = self.tasks[name]
        for label, output in task.baselines(self.data, questions, self._train[name]).items():
            yield Answered(label, "baseline", output)
        if self.collaborative is not None and task.encoder_answers:
            scores = np.full(questions.items.shape, -np.inf)
            scores[questions.items > 0] = self.collaborative.score(self.data, questions.pairs())
            own: Role = "cf" if self.method is not None else "method"
            yield Answered(self.collaborative.name, own, task.from_encoder(scores))

    def _own_lines(self, name: str) -> Iterator[Answered]:
        """Yield the method's lines: one per prompt version that it reads, and one on a sample with shuffled users."""
        if self.method is None:
            return
        module, questions = self.method.module, self.questions[name]
        first, *others = self.method.datamodule.prompts[name].reading.wordings
        folder = self._folder(name, questions, first)
        self.scoring[name] = read_json(folder / _TIME_FILE)
        label = self._label(name)
        yield Answered(label, "method", output_of(read_table(folder / _FILE)))
        if module.trains and self.config.evaluation.zero_shot:
            yield Answered("frozen LLM", "frozen_llm", self._frozen(name, module))
        for version in others:
            folder = self._folder(name, questions, version)
            yield Answered(f"{module.name}, {version} alone", "method_text", output_of(read_table(folder / _FILE)))
        size = min(self.config.evaluation.shuffled_rows, len(questions))
        if (module.needs_encoder or module.is_personalised) and size and self.tasks[name].kind == "choice":
            places = np.sort(np.random.default_rng(self.seed).choice(len(questions), size, replace=False))
            if len(np.unique(questions.user[places])) < 2:
                log.info("%s: users are not shuffled: evaluation.shuffled_rows=%d questions are of one", name, size)
                return
            folder = self._folder(name, questions.take(places), first, _SHUFFLE_SEED)
            output = output_of(read_table(folder / _FILE))
            yield Answered(f"{label}, users shuffled", "method_shuffled", output, places)

    def _label(self, name: str) -> str:
        """Return the method's name in a task's table, including what is added to its logits."""
        assert self.method is not None
        module, encoder = self.method.module, self.collaborative
        added = module.offset is not None and encoder is not None and self.tasks[name].is_binary
        return f"{module.name} + {encoder.name} logit" if added and encoder else module.name

    def _folder(
        self,
        name: str,
        questions: Questions,
        version: Version,
        shuffle: int | None = None,
        split: SplitName = "test",
    ) -> Path:
        assert self.method is not None
        method = self.method
        depends = {"method": method.key, "version": version, "shuffled": shuffle, "questions": len(questions)}
        depends |= {"split": split}
        label = method.module.name if version == method.module.versions[0] else f"{method.module.name}-{version}"
        label += ("" if shuffle is None else "-shuffled") + ("" if split == "test" else f"-{split}")
        answering = Answering(method.module, method.datamodule)
        return self._cached(
            name, label, depends, questions, lambda: answering(name, questions, version, shuffle_users=shuffle), split
        )

    def _frozen(self, name: str, module: LLMRecommender) -> Output:
        """Answer with the language model alone, the method's layers switched off, on text-only prompts.

        For `ctr`, it reads the method's own prompt if that is plain text, and `evaluation.prompt` if only the method
        could fill it; for other tasks, the task's prompt.
        """
        backbone, words, prompt = module.backbone, self.config.data.wording, None
        node = None
        if name == CTR and module.prompt is not None:
            plain = module.prompt.is_text([*words, *self.data.item_attributes, *self.data.user_attributes])
            node = self.config.model["prompt"] if plain else self.config.evaluation.prompt
            prompt = module.prompt if plain else build(node, "evaluation.prompt")

        def answer() -> Output:
            tasks = {name: self.tasks[name]}
            alone = ZeroShot(name="frozen LLM", tasks=tasks, prompt=prompt, score=module.score, backbone=backbone)
            datamodule = alone.datamodule(self.data, words, seed=0, token_budget=self.config.scoring_tokens)
            with module.disabled():
                return Answering(alone, datamodule)(name, self.questions[name])

        depends = {
            "backbone": backbone.identity,
            "dtype": str(backbone.dtype),
            "score": module.score,
            "prompt": node,
            "task": self.config.task[name],
            **self.config.deciding("frozen"),
        }
        return output_of(read_table(self._cached(name, "frozen_llm", depends, self.questions[name], answer) / _FILE))

    def _cached(
        self,
        name: str,
        label: str,
        depends: Mapping[str, Any],
        questions: Questions,
        answer: Callable[[], Output],
        split: SplitName = "test",
    ) -> Path:
        """Return the folder of the answers to `questions`, cached if the same model has answered them before."""

        def make(folder: Path) -> None:
            begun = time.monotonic()
            output = answer()
            rows, seconds = len(questions), time.monotonic() - begun
            rate = rows / seconds if seconds > 0 else 0.0
            took = {"rows": rows, "seconds": round(seconds, 3), "rows_per_second": round(rate, 3)}
            write_json(folder / _TIME_FILE, took)
            write_predictions(folder / _FILE, self.data, split, questions, output)

        node = self.config.data
        sampled = {"valid_rows": node.valid_rows, "sample_seed": node.sample_seed}  # the sample they are part of
        which = self.config.deciding("test") if split == "test" else sampled
        every = {"task_name": name, "data_key": self.data.key, **which, **depends}
        return self.store.get("test", f"{label}-{name}-{self.data.manifest['name']}", every, make, together=True).folder
