"""Which of these candidates does the user like next? One is right, the others are sampled.

Scored without decoding: each candidate's title by its log-likelihood after the prompt, or each candidate's letter by
one logit.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from recsys_lora.data.prepared import PreparedData, Rows
from recsys_lora.data.schema import SplitName
from recsys_lora.evaluation.ranking import hit_rate_at, mrr, ndcg_at
from recsys_lora.evaluation.statistics import Mean, Statistic
from recsys_lora.prompts.slots import CANDIDATES, slots
from recsys_lora.tasks.negatives import NegativeSampler, Sampling
from recsys_lora.tasks.question import Questions
from recsys_lora.tasks.selection import Limit, asked_rows, generator, report_left_out, sample
from recsys_lora.tasks.task import Floats, Output, RangedOptions, Raw, Task, letter
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.types import NonNegativeInt, PositiveInt
from recsys_lora.utils.words import counted

Scoring = Literal["title_likelihood", "option_letter"]
_POPULARITY = "popularity"
_TIES = 1e-6
"""Weight of the random number added to an integer count: it only breaks ties."""


class TopK(Task):
    """Sequential recommendation among candidates.

    Valid and test ask for each user's last positive in the split, or for more of them; train asks for the last few with
    enough history.

    Args:
        candidates: C, the right one included; part of the metrics' names.
        sampling: of the others: `uniform`, or `popularity`, as often as they occur in train; also part of the names.
        scoring: `title_likelihood` or `option_letter`.
        length_normalised: the mean instead of the sum of a title's token log-likelihoods.
        end_token: append the end-of-text token to each title, so that no title is the beginning of another.
        train_per_user: maximum number of training questions per user, the latest; None for all.
        eval_per_user: the same in valid and test.
        min_history: minimum number of positives before a training question.
        cutoffs: the k of HR@k and NDCG@k.
        authors_negatives: sample from all items, including a user's other positives, as the authors' code does.
        options: see `RangedOptions`; both prompts contain `{candidates}`, and each candidate has its own <item>.

    Raises:
        UserError: fewer than two candidates, or prompts that do not show them.
    """

    name: ClassVar[str] = "topk"
    encoder_answers: ClassVar[bool] = True
    stacked: ClassVar[tuple[str, ...]] = (_POPULARITY,)

    def __init__(
        self,
        *,
        candidates: PositiveInt = 10,
        sampling: Sampling = "uniform",
        scoring: Scoring = "title_likelihood",
        length_normalised: bool = True,
        end_token: bool = True,
        train_per_user: PositiveInt | None = 10,
        eval_per_user: PositiveInt | None = 1,
        min_history: NonNegativeInt = 1,
        cutoffs: Sequence[int] = (1, 3, 5),
        authors_negatives: bool = False,
        **options: Unpack[RangedOptions],
    ) -> None:
        super().__init__(**options)
        if candidates < 2:
            raise UserError("task topk: candidates=1: nothing to choose from: set it to 2 or more")
        if any(CANDIDATES not in slots(prompt.text) for prompt in (self.text, self.collaborative)):
            raise UserError("task topk: a prompt without the slot {candidates}: put it into text and no_history")
        if wrong := [k for k in cutoffs if not 0 < k < candidates]:
            raise UserError(f"task topk: cutoffs {wrong}: each k lies between 1 and candidates - 1 = {candidates - 1}")
        self.kind = "choice" if scoring == "option_letter" else "candidates"
        self.candidates = candidates
        self.sampling = sampling
        self.length_normalised = length_normalised
        self.cutoffs = tuple(cutoffs)
        self.authors_negatives = authors_negatives
        self.train_per_user = train_per_user
        self.eval_per_user = eval_per_user
        self.min_history = min_history
        self._end_token = end_token

    @property
    def end_token(self) -> bool:
        """Whether titles end with the end-of-text token."""
        return self._end_token

    @property
    def answer_room(self) -> int:
        """Tokens of a title, its separator and its end."""
        return 0 if self.kind == "choice" else self.text.title_tokens + 4

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The candidates' letters if these are the answers."""
        return tuple(map(letter, range(self.candidates))) if self.kind == "choice" else None

    @property
    def slots(self) -> dict[str, str]:
        """The scale's ends, and `{answer}`, how candidates are named: title or letter."""
        return {**self.scale.words, "answer": "letter" if self.kind == "choice" else "title"}

    def questions(self, data: PreparedData, split: SplitName, limit: Limit, seed: int) -> Questions:
        """Return a question for each user's last positives in the split, its candidates in random order.

        Raises:
            UserError: the catalogue is too small to sample from.
        """
        random = generator(self.name, split, seed)
        rows, most = asked_rows(data, split, limit, seed, self.history_range)
        rows = self._last_positives(rows, split)
        sampler = NegativeSampler(data, split, self.sampling, self.authors_negatives)
        count = self.candidates - 1
        rows = sampler.drawable(rows, count, self, f"lower candidates={self.candidates}")
        rows = rows.take(sample(len(rows), most, random))
        drawn = sampler.draw(rows.user, rows.item, count, random)
        items = random.permuted(np.concatenate([rows.item[:, None], drawn], axis=1), axis=1)  # (n, C)
        target = (items == rows.item[:, None]).argmax(axis=1)
        questions = Questions.of(rows, target, np.ones(len(rows)))
        return replace(questions, items=items, suffix=self._suffix)

    @property
    def _suffix(self) -> str:
        return f"_of{self.candidates}_{self.sampling}" + ("_any" if self.authors_negatives else "")

    def _last_positives(self, rows: Rows, split: SplitName) -> Rows:
        positives = rows.take(rows.label > 0)
        per_user = self.eval_per_user
        if split == "train":
            per_user = self.train_per_user
            enough = positives.position >= self.min_history
            reason = f"fewer than {counted(self.min_history, 'earlier positive')}"
            report_left_out(self.name, split, reason, int((~enough).sum()), len(positives), self.logged)
            positives = positives.take(enough)
        if per_user is None:
            return positives
        return positives.take(from_the_end(positives.user) < per_user)

    def predict(self, raw: Raw, questions: Questions) -> Floats:
        """Return scores (n, C), -inf where there is no candidate."""
        scores = np.asarray(raw, dtype=np.float64)
        return np.where(questions.items > 0, scores[:, : questions.items.shape[1]], -np.inf)

    def from_encoder(self, scores: Floats) -> Floats:
        """Return the scores as they are."""
        return scores

    def averaged(self, outputs: Sequence[Output]) -> Floats:
        """Return the mean over seeds of each one's softmax over the candidates; one seed's scores are unchanged."""
        scores = [np.asarray(output, dtype=np.float64) for output in outputs]
        if len(scores) == 1:
            return scores[0]
        chances = [np.exp(score - score.max(axis=1, keepdims=True)) for score in scores]
        return np.asarray(np.mean([chance / chance.sum(axis=1, keepdims=True) for chance in chances], axis=0))

    def metrics(self, questions: Questions, output: Output) -> list[Statistic]:
        """Return HR@k, NDCG@k and MRR; ties count against the model."""
        score = np.asarray(output, dtype=np.float64)
        right = np.arange(score.shape[1]) == questions.target[:, None]  # (n, C)
        suffix, user = questions.suffix, questions.user
        hits = [Mean(f"hr@{k}{suffix}", user, hit_rate_at(score, right, k)) for k in self.cutoffs]
        further = [k for k in self.cutoffs if k > 1]  # NDCG@1 is HR@1
        gains = [Mean(f"ndcg@{k}{suffix}", user, ndcg_at(score, right, k)) for k in further]
        return [*hits, *gains, Mean(f"mrr{suffix}", user, mrr(score, right))]

    def baselines(self, data: PreparedData, questions: Questions, train: Questions) -> dict[str, Output]:
        """Return seeded random scores, and log(1 + count in train) of each candidate, ties in random order."""
        chance = np.random.default_rng(0).random(questions.items.shape)
        there = questions.items > 0
        count = data.train_counts()[1][questions.items]
        return {
            "random": np.where(there, chance, -np.inf),
            _POPULARITY: np.where(there, np.log1p(count + _TIES * chance), -np.inf),
        }


def from_the_end(user: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many rows of the same user follow each row (n,); a user's rows are contiguous."""
    last = np.flatnonzero(np.r_[user[1:] != user[:-1], True]) if len(user) else np.zeros(0, dtype=np.int64)
    ends = last[np.searchsorted(last, np.arange(len(user)))]
    return np.asarray(ends - np.arange(len(user)), dtype=np.int64)
