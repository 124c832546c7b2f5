"""A trained run in use, by raw ids: scores, ranked lists, similar items, explanations; takes new events and items."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from recsys_lora.data.batch import PromptBatch
from recsys_lora.data.history import Pairs
from recsys_lora.data.live import LiveData
from recsys_lora.pipeline.assembly import datamodule_of
from recsys_lora.pipeline.loading import Loaded
from recsys_lora.recommender import explaining, updates
from recsys_lora.recommender.calls import Answer, Call, ListCall, ScoreCall, SimilarCall, State, answers
from recsys_lora.recommender.layout import Layout
from recsys_lora.recommender.queries import Histories, RawId, group_by_history, item_numbers, user_number, user_queries
from recsys_lora.recommender.read_write_lock import ReadWriteLock
from recsys_lora.recommender.stages import Stages, pairs_of
from recsys_lora.recommender.tables import known_table
from recsys_lora.tasks.task import CTR
from recsys_lora.utils.errors import UserError


class Recommender:
    """Answers for users and items of a trained run; thread-safe.

    Args:
        loaded: the run.

    Attributes:
        run: the run: its config, tasks and trained parts.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.run = loaded
        self._lock = ReadWriteLock()
        self._data = LiveData(loaded.data)
        method = loaded.method
        if method is not None:
            method = replace(method, datamodule=method.datamodule.on(self._data))
        self._stages = Stages(loaded.collaborative, method)
        self._stages.grow(1, 0)  # the anonymous user

    def score(
        self,
        pairs: Sequence[tuple[RawId | None, RawId]],
        history: Histories = None,
        position: Sequence[int] | None = None,
    ) -> pl.DataFrame:
        """Score (user, item) pairs.

        Args:
            pairs: raw ids; the user None is anonymous.
            history: raw ids of liked items, oldest first: of the only user, or by user; see `recommend`.
            position: for each pair, how many of the user's earliest positives are known; all by default.

        Returns:
            One row per pair, in their order; ranks are within each user's pairs.

        Raises:
            UserError: an id is unknown, a position is invalid, or the method was trained without the task ctr.
        """
        return self._one(ScoreCall(pairs, history, position))

    def recommend(
        self,
        users: RawId | Sequence[RawId | None] | None,
        k: int = 10,
        candidates: Sequence[RawId] | None = None,
        exclude_seen: bool = True,
        retrieve: int = 100,
        history: Histories = None,
    ) -> pl.DataFrame:
        """Recommend items: the CF model retrieves them from the whole catalogue, the language model ranks them.

        Args:
            users: raw ids, or one; None is an anonymous user.
            k: items per user at most.
            candidates: rank these items instead of those that the CF model retrieves.
            exclude_seen: leave out the items of a user's history, liked or not.
            retrieve: how many items are retrieved and ranked, for each user.
            history: raw ids of liked items, oldest first: of the only user, or by user. It replaces the stored history.
                An unknown user needs one; if it is empty, the list has popular items, and its column `by` says so.

        Returns:
            Up to `k` rows per user, best first, users in the order given.

        Raises:
            UserError: an id is unknown, or the method was trained without the task ctr.
        """
        several = isinstance(users, Sequence) and not isinstance(users, str)
        asked: Any = users if several else [users]
        return self._one(ListCall(asked, k, candidates, exclude_seen, retrieve, history))

    def similar(self, item: RawId, k: int = 10) -> pl.DataFrame:
        """Return the items whose collaborative vectors are most similar to this one's.

        Args:
            item: raw id.
            k: items at most.

        Returns:
            Columns item, title, score (the cosine) and rank, nearest first.

        Raises:
            UserError: the item is unknown or in no train row, or the run has no CF model.
        """
        return self._one(SimilarCall(item, k))

    def answer(self, calls: Sequence[Call]) -> list[Answer]:
        """Answer several calls as one batch, such as the concurrent requests to a service.

        Returns:
            For each call, what `score`, `recommend` or `similar` returns (scores differ only by rounding), or the
            `UserError` that it raises.
        """
        with self._lock.reading():
            return answers(State(self._stages, self._data, self._liked), calls)

    def explain(
        self, user: RawId | None, item: RawId, rating: float | None = None, history: Histories = None
    ) -> pl.DataFrame:
        """Let a method with the task `explanation` write why a user gives an item this rating.

        Args:
            user: raw id.
            item: raw id.
            rating: the rating to explain; by default the method's prediction if it has the task `rating`, else the
                scale's highest.
            history: see `recommend`.

        Returns:
            One row: user, item, title, rating, text.

        Raises:
            UserError: an id is unknown, the rating is outside the scale, or the method has no such task.
        """
        with self._lock.reading():
            view, pair = self._pair(user, item, history)
            return explaining.explained(self._stages.method, view, None if user is None else str(user), pair, rating)

    def prompt(self, user: RawId | None, item: RawId, task: str = CTR, history: Histories = None) -> PromptBatch:
        """Return the prompt about a user and an item: a batch of one, on the method's device.

        Args:
            user: raw id.
            item: raw id.
            task: `ctr` or `rating`.
            history: see `recommend`.

        Raises:
            UserError: an id is unknown, or the method has no such task.
        """
        with self._lock.reading():
            return self._stages.prompt(*self._pair(user, item, history), task)

    def update(self, interactions: updates.Rows) -> int:
        """Add events: histories grow, nothing is trained.

        Args:
            interactions: columns user, item, rating if the data have ratings, and timestamp if the events are not
                given oldest first; under these names or those of `data.columns`. Or rows: records with these names, or
                tuples in this order. Users may be new.

        Returns:
            The number of events.

        Raises:
            UserError: an item is unknown, a column is missing, or a rating is outside the scale.
        """
        with self._lock.writing():
            settings = self.run.config.data
            scale = settings.rating_scale
            layout = Layout.of_events(settings.reader)
            events = updates.events(interactions, layout, settings.positive, (scale.low, scale.high))
            items = item_numbers(self._data, events["item"])
            known = self._data.user_numbers
            new = [raw for raw in events["user"].unique(maintain_order=True) if raw not in known]
            if new:
                self._replace(self._data.with_users(new), users=len(new))
            self._replace(updates.moved(self._data, events, items))
        return len(events)

    def add_items(self, items: updates.Rows) -> int:
        """Add items that no user has interacted with: they are known by their title, and get an unseen item's vector.

        Args:
            items: columns item and title, and any of the data's attributes; or rows: records with these names, or
                tuples of item and title.

        Returns:
            The number of items.

        Raises:
            UserError: an item already exists or has no title, or a column is unknown.
        """
        with self._lock.writing():
            table = updates.items(items, Layout.of_items(self.run.config.data.reader), self._data)
            self._replace(self._data.with_items(table), items=len(table))
        return len(table)

    @property
    def users(self) -> list[str]:
        """All users' raw ids."""
        return list(self._data.user_numbers)

    @property
    def items(self) -> pl.DataFrame:
        """All items: columns item and title."""
        return self._data.items.select(pl.col("item_id").alias("item"), "title")

    def history(self, user: RawId) -> pl.DataFrame:
        """Return a user's history, oldest first: columns item, title, rating and liked.

        Raises:
            UnknownIdError: the user is unknown.
        """
        with self._lock.reading():
            return known_table(self._data.known(user_number(self._data, user)), self._data)

    def _one(self, call: Call) -> pl.DataFrame:
        [found] = self.answer([call])
        if isinstance(found, UserError):
            raise found
        return found

    def _pair(self, user: RawId | None, item: RawId, history: Histories) -> tuple[LiveData, Pairs]:
        [query] = user_queries(self._data, [user], history, self._liked)
        [(view, _)] = group_by_history(self._data, [query])
        return view, pairs_of(view, query.number, item_numbers(self._data, [item]))

    @property
    def _liked(self) -> float:
        """The rating assumed for liked items without one."""
        return self.run.config.data.rating_scale.high

    def _replace(self, data: LiveData, users: int = 0, items: int = 0) -> None:
        """Switch to other data; the stages get room for the given numbers of new users and items."""
        method = self._stages.method
        if users or items:
            self._stages.grow(users, items)
        if method is not None:
            grown = users or items
            made = datamodule_of(self.run.config, method.module, data) if grown else method.datamodule.on(data)
            self._stages = replace(self._stages, method=replace(method, datamodule=made))
        self._data = data
