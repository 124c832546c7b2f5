"""The two stages of a recommendation: the CF model retrieves from the whole catalogue, the language model ranks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_lora.cf.fit import score_rows
from recsys_lora.cf.retrieval import Floats, Ints, best, retrieve
from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import Pairs
from recsys_lora.data.live import LiveData
from recsys_lora.methods.answering import Answering
from recsys_lora.methods.candidates import pair_questions, score_candidates
from recsys_lora.pipeline.collaborative import Collaborative
from recsys_lora.pipeline.method import Method
from recsys_lora.tasks.task import CTR
from recsys_lora.utils.errors import UserError

POPULARITY = "popularity"
PAIRWISE = ("ctr", "rating")
"""Tasks whose prompts take only a user and an item."""


@dataclass(frozen=True)
class Stages:
    """The models that retrieve and rank, at one state of the data.

    Attributes:
        collaborative: the fitted encoder; None if the run has none: then popular items are retrieved.
        method: the trained method; None if the run has only a CF model: then its scores rank.
    """

    collaborative: Collaborative | None
    method: Method | None

    @property
    def name(self) -> str:
        """Name of the model that ranks: the method or the CF model."""
        if self.method is not None:
            return self.method.module.name
        assert self.collaborative is not None, "a run has a method or a CF model"
        return self.collaborative.name

    def grow(self, users: int, items: int) -> None:
        """Make room for the given numbers of new users and items."""
        if self.method is not None:
            self.method.module.grow(users, items)
        elif self.collaborative is not None:
            self.collaborative.encoder.grow(users, items)

    def check_ranks(self) -> None:
        """Refuse a method that was not trained to rank.

        Raises:
            UserError: it was trained without the task ctr.
        """
        if self.method is not None and CTR not in self.method.datamodule.prompts:
            tasks = ", ".join(self.method.datamodule.prompts)
            raise UserError(f"model={self.name} answers {tasks}: items are ranked by ctr: train it with tasks=[ctr]")

    def retrieved(
        self, data: LiveData, users: Sequence[int], hidden: Sequence[Ints], k: int
    ) -> Iterator[tuple[Ints, Floats | None]]:
        """Yield each user's k best items by the CF model, without hidden ones, and their logits; else popular items."""
        counts = data.popularity
        if self.collaborative is None:
            yield from ((most_popular(counts, out, k), None) for out in hidden)
        else:
            numbers = np.array(users, dtype=np.int64)
            yield from retrieve(self.collaborative.encoder, numbers, data.history, hidden, counts, k)

    def cf_scores(self, data: LiveData, pairs: Pairs) -> Floats | None:
        """Return the CF model's logits (n,); None if the run has no CF model."""
        if self.collaborative is None:
            return None
        return score_rows(self.collaborative.encoder, pairs, data.history)

    def scores(self, data: LiveData, pairs: Pairs) -> Floats:
        """Return the scores (n,) to rank by; higher is better.

        Raises:
            UserError: the method was trained without the task ctr.
        """
        self.check_ranks()
        if self.method is None:
            found = self.cf_scores(data, pairs)
            assert found is not None, "a run has a method or a CF model"
            return found
        answer = Answering(self.method.module, self.method.datamodule.on(data))
        return np.asarray(answer(CTR, pair_questions(data, pairs), show=False), dtype=np.float64)

    def prompt(self, data: LiveData, pair: Pairs, task: str) -> PromptBatch:
        """Return the prompt that asks about a pair as a batch of one, on the method's device.

        Raises:
            UserError: the method has no such task, or its prompts take more than a user and an item.
        """
        if self.method is None:
            raise UserError(f"{self.name}: reads no prompts: ask a run of a language model")
        made = self.method.datamodule.on(data)
        if task not in PAIRWISE or task not in made.prompts:
            known = ", ".join(name for name in made.prompts if name in PAIRWISE) or "none"
            raise UserError(f"task={task}: no prompt of this run asks so about a user and an item, but of {known}")
        prompts = made.prompts[task].set(pair_questions(data, pair))
        return prompts.batch(np.array([0]), made.batching.pad_id, "right").to(self.method.module.device)

    def scores_of_one(self, data: LiveData, user: int, items: Ints) -> Floats:
        """Return the scores (n,) of one user's candidates; what their prompts share is read once."""
        if self.method is None:
            return self.scores(data, pairs_of(data, user, items))
        return score_candidates(self.method.module, self.method.datamodule.on(data), user, items.tolist())


def pairs_of(data: LiveData, user: int, items: Ints) -> Pairs:
    """Return pairs of one user with some items; all of the user's history is known."""
    known = np.full(len(items), len(data.history.of(user)), dtype=np.int64)
    return Pairs(np.full(len(items), user, dtype=np.int64), items, known)


def most_popular(counts: Ints, hidden: Ints, k: int) -> Ints:
    """Return the most popular items (up to k,), most popular first; of equals, the older first."""
    scores = counts.astype(np.float64)
    scores[0] = scores[hidden] = -np.inf
    return best(scores, counts, k)
