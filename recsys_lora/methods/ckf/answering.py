"""A model's answers to any questions of a task: logits of choices, candidates' log-likelihoods, or written texts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recsys_lora.cf.inference import evaluating
from recsys_lora.console import progress
from recsys_lora.data.batch import PromptSet
from recsys_lora.data.loader import ScoreLoader, Share
from recsys_lora.llm.generation import greedy
from recsys_lora.llm.likelihood import continuation_log_likelihood
from recsys_lora.methods.ckf.module import CKFMultiTaskModule
from recsys_lora.methods.scoring import gathered, own_share, rows_of_others, scoring_share
from recsys_lora.tasks.module import TaskData
from recsys_lora.tasks.predictions import Raw
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.task import Version

Part = tuple[NDArray[np.int64], list[Any]]


@dataclass(frozen=True)
class Answering:
    """One model and the tasks it answers.

    Attributes:
        module: the model, on the device where it is to run; within `module.disabled()` it is the frozen backbone,
            which answers prompts of text alone.
        datamodule: makes its prompts.
        name: what the progress display calls it; None is the module's own name.
    """

    module: CKFMultiTaskModule
    datamodule: TaskData
    name: str | None = None

    def __call__(
        self,
        name: str,
        questions: Questions,
        version: Version = "collaborative",
        shuffle_users: int | None = None,
        show: bool = True,
    ) -> Raw:
        """Answer questions of one task, each once whatever the number of processes; all processes get all answers.

        Args:
            name: of the task.
            questions: n questions.
            version: which of the task's two prompts.
            shuffle_users: a seed; encoder and mapping then see the user and history of another user's question, while
                the prompt's text stays.
            show: show progress.

        Returns:
            Logits (n, K), log-likelihoods (n, C) in nats with -inf at padding, or n texts.
        """
        task, share = self.datamodule.tasks[name], scoring_share(self.module)
        show = show and own_share().rank == 0
        prompts = self.datamodule.prompts[name].set(questions, version, with_answers=False, show=show)
        if shuffle_users is not None:
            prompts = prompts.with_encoder_rows(rows_of_others(questions.user, shuffle_users))
        kinds: dict[str, Callable[[], Iterator[Part]]] = {
            "choice": lambda: self._choices(prompts, share),
            "candidates": lambda: self._candidates(name, prompts, questions, share),
            "text": lambda: self._texts(prompts, share, task.answer_room),
        }
        places, results = [], []
        mine = len(share.of(np.arange(len(questions))))
        label = f"{name}: {self.name or self.module.name}, {version}"
        with evaluating(self.module), torch.inference_mode(), progress(label, mine, "questions", show=show) as advance:
            for where, answers in kinds[task.kind]():
                places.append(where)
                results.append(answers)
                advance(len(where), "")
        ordered: list[Any] = [None] * len(questions)
        for all_places, all_results in gathered((places, results), share):
            for where, answers in zip(all_places, all_results, strict=True):
                for place, answer in zip(where.tolist(), answers, strict=True):
                    ordered[place] = answer
        return ordered if task.kind == "text" else np.array(ordered, dtype=np.float64)

    def _choices(self, prompts: PromptSet, share: Share) -> Iterator[Part]:
        for batch in self.datamodule.score_loader(prompts, share):
            logits = self.module.choice_logits(batch.to(self.module.device))  # (B, K)
            yield batch.place.numpy(), list(logits.double().cpu().numpy())

    def _candidates(self, name: str, prompts: PromptSet, questions: Questions, share: Share) -> Iterator[Part]:
        task, width = self.datamodule.tasks[name], questions.items.shape[1]
        continuations = self.datamodule.prompts[name].continuations(questions)
        for place in share.of(np.arange(len(prompts))):
            batch = prompts.batch(np.array([place]), self.datamodule.pad_id, "right").to(self.module.device)
            own = batch.task
            total, tokens = continuation_log_likelihood(
                self.module.backbone,
                self.module.embeds(batch),
                continuations[place],
                repeat=lambda count, own=own: self.module.route(own.expand(count)),  # type: ignore[misc]
            )
            scores = np.full(width, -np.inf)
            values = total / tokens if task.length_normalised else total
            scores[np.flatnonzero(questions.items[place])] = values.double().cpu().numpy()
            yield np.array([place]), [scores]

    def _texts(self, prompts: PromptSet, share: Share, room: int) -> Iterator[Part]:
        tokenizer = self.module.backbone.tokenizer
        stop = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        loader = ScoreLoader(prompts, self.datamodule.token_budget, self.datamodule.pad_id, "left", share)
        for batch in loader:
            moved = batch.to(self.module.device)
            written = greedy(self.module.backbone, self.module.embeds(moved), moved.attention_mask, room, stop)
            texts = tokenizer.batch_decode(written, skip_special_tokens=True)
            yield batch.place.numpy(), [" ".join(text.split()) for text in texts]
