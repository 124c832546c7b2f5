"""A method's answers to questions of a task: scores of choices, log-likelihoods of candidates, or generated text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from recsys_lora.cf.inference import evaluating
from recsys_lora.data.batch import PromptSet
from recsys_lora.data.loader import Shard
from recsys_lora.llm.generation import greedy
from recsys_lora.llm.likelihood import continuation_log_likelihood
from recsys_lora.methods.base import LLMRecommender
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Output, Raw, Task, Version
from recsys_lora.utils.console import part_of, progress

Part = tuple[NDArray[np.int64], Any]
"""Indices of some questions, and their answers: a list, or a tensor for choices."""


@dataclass(frozen=True)
class Answering:
    """Answers questions with one method.

    Attributes:
        module: the method, on the device to run on; its mode is restored afterwards. Within `module.disabled()` the
            backbone answers alone, from text-only prompts.
        datamodule: builds its prompts.
    """

    module: LLMRecommender
    datamodule: TaskData

    def __call__(
        self,
        name: str,
        questions: Questions,
        version: Version | None = None,
        shuffle_users: int | None = None,
        show: bool = True,
    ) -> Output:
        """Answer questions of one task; with several processes, every process gets all answers.

        Under `torch.distributed` each process answers its share of the questions, or all if the backbone is sharded.

        Args:
            name: the task's name.
            questions: n questions.
            version: one of the prompt versions that the method reads; by default the one it answers.
            shuffle_users: a seed; if given, the encoder (and anything the method writes from its vectors) sees another
                user and that user's history for every question, while the prompt's history and titles stay unchanged:
                any accuracy that remains is due to the text and the item.
            show: show progress.

        Returns:
            Predictions in the task's own form.
        """
        task, own = self.datamodule.tasks[name], _own_shard()
        shard = Shard() if self.module.backbone.sharded else own  # all processes must run the same forwards
        show = show and own.rank == 0
        others = None if shuffle_users is None else questions.of_other_users(shuffle_users)
        make = self.datamodule.prompts[name].set
        kinds: dict[str, Callable[[PromptSet], Iterator[Part]]] = {
            "choice": lambda prompts: self._choices(prompts, shard),
            "candidates": lambda prompts: self._candidates(task, prompts, questions, shard),
            "text": lambda prompts: self._texts(task, prompts, shard),
        }
        places, results = [], []
        label = f"{self.module.name}: {name}" + ("" if version in (None, self.module.versions[0]) else f", {version}")
        label += "" if shuffle_users is None else ", users shuffled"
        mine = len(shard.of(np.arange(len(questions))))
        with evaluating(self.module), torch.inference_mode(), progress(label, mine, "questions", show=show) as advance:
            tokenising = part_of(advance, "tokenising", len(questions))
            prompts = make(questions, version, advance=tokenising, encoder_rows=others)
            for where, answers in kinds[task.kind](prompts):
                places.append(where)
                results.append(answers)
                advance(len(where), "")
        if task.kind == "choice" and results:  # one copy: nothing waits for the device before
            places, results = [np.concatenate(places)], [list(torch.cat(results).double().cpu().numpy())]
        raw = _in_order(_gathered((places, results), shard), len(questions))
        return task.predict(raw if task.kind == "text" else np.array(raw, dtype=np.float64), questions)

    def _choices(self, prompts: PromptSet, shard: Shard) -> Iterator[Part]:
        """Yield scores of choices; a text-only method answers equal prompts once."""
        module = self.module
        if module.reads_text_alone and not module.is_personalised and module.offset is None:
            yield from self._distinct_choices(prompts, shard)
            return
        for batch in self.datamodule.score_loader(prompts, shard):
            yield batch.index.numpy(), self.module(batch.to(self.module.device))  # (B,) or (B, K)

    def _distinct_choices(self, prompts: PromptSet, shard: Shard) -> Iterator[Part]:
        first, same = prompts.prompts.distinct()
        counts = np.bincount(same)
        places = np.split(np.argsort(same, kind="stable"), counts.cumsum()[:-1])  # each prompt's questions
        for batch in self.datamodule.score_loader(prompts.take(first), shard):
            found = batch.index.numpy()
            where = np.concatenate([places[number] for number in found])
            times = torch.from_numpy(counts[found]).to(self.module.device)
            answers = self.module(batch.to(self.module.device))
            yield where, answers.repeat_interleave(times, dim=0, output_size=len(where))

    def _candidates(self, task: Task, prompts: PromptSet, questions: Questions, shard: Shard) -> Iterator[Part]:
        width = questions.items.shape[1]
        continuations = self.datamodule.prompts[task.name].continuations(questions)
        for place in shard.of(np.arange(len(prompts))):
            batch = prompts.batch(np.array([place]), self.datamodule.batching.pad_id, "right").to(self.module.device)
            total, tokens = continuation_log_likelihood(
                self.module.backbone,
                self.module.embeds(batch),
                continuations[place],
                after_prompt=lambda copies: _after_prompt(self.module, copies),
            )
            scores = np.full(width, -np.inf)
            values = total / tokens if task.length_normalised else total
            scores[np.flatnonzero(questions.items[place])] = values.double().cpu().numpy()
            yield np.array([place]), [scores]

    def _texts(self, task: Task, prompts: PromptSet, shard: Shard) -> Iterator[Part]:
        tokenizer = self.module.backbone.tokenizer
        stop = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        for batch in self.datamodule.score_loader(prompts, shard, padding="left"):
            moved = batch.to(self.module.device)
            written = greedy(
                self.module.backbone,
                self.module.embeds(moved),
                moved.attention_mask,
                task.answer_room,
                stop,
                after_prompt=lambda: _after_prompt(self.module),
            )
            texts = tokenizer.batch_decode(written, skip_special_tokens=True)
            yield batch.index.numpy(), [" ".join(text.split()) for text in texts]


def _after_prompt(module: LLMRecommender, copies: int = 1) -> None:
    """Set a method's low-rank layers to the tokens after the current batch's prompts, each repeated `copies` times."""
    if module.lowrank is not None and (state := module.lowrank.state.current) is not None:
        module.lowrank.state.current = state.after_prompt(copies)


def _own_shard() -> Shard:
    """Return this process's shard, which is everything without `torch.distributed`."""
    return Shard(distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else Shard()


def _gathered(value: tuple[list[Any], list[Any]], shard: Shard) -> list[tuple[list[Any], list[Any]]]:
    """Return the question indices and answers of every process."""
    if shard.world == 1:
        return [value]
    everyone: list[tuple[list[Any], list[Any]]] = [([], [])] * shard.world
    distributed.all_gather_object(everyone, value)
    return everyone


def _in_order(parts: list[tuple[list[Any], list[Any]]], count: int) -> Raw:
    """Return the answers of all processes in the order of the questions."""
    ordered: list[Any] = [None] * count
    for places, results in parts:
        for where, answers in zip(places, results, strict=True):
            for place, answer in zip(where.tolist(), answers, strict=True):
                ordered[place] = answer
    return ordered
