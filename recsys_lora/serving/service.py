"""A run behind a server: asked in micro-batches, within limits."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import recsys_lora
from recsys_lora.recommender.calls import Call
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.serving import schemas
from recsys_lora.serving.batcher import Batcher, Limits
from recsys_lora.serving.errors import TooLargeError
from recsys_lora.serving.metrics import Metrics
from recsys_lora.utils.words import counted

AnyRequest = schemas.RecommendRequest | schemas.ScoreRequest | schemas.SimilarRequest


@dataclass(frozen=True)
class Options:
    """Options of a server.

    Attributes:
        limits: limits of batches; `max_rows` also limits a single request.
        token: a bearer token; None: anyone may ask.
        hosts: host names by which the server may be called; None: any. They keep a foreign page from reading answers
            by pointing its own name at this machine (DNS rebinding).
        max_body: bytes per request at most.
        timeout: seconds per request at most.
    """

    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    hosts: frozenset[str] | None = None
    max_body: int = 1_000_000
    timeout: float = 30.0


class Service:
    """A recommender, asked in batches.

    Args:
        recommender: the run.
        limits: limits of batches.
        metrics: counts the batches.
        other: the run served beside it, if there is one.
    """

    def __init__(
        self, recommender: Recommender, limits: Limits, metrics: Metrics, other: Recommender | None = None
    ) -> None:
        self.recommender = recommender
        self.limits = limits
        self.other = other
        self.batcher: Batcher[Call, Any] = Batcher(recommender.answer, limits, metrics.batched)

    async def rows(self, request: AnyRequest) -> dict[str, Any]:
        """Return the rows that answer a request.

        Raises:
            TooLargeError: they would be too many.
            BusyError: too many requests wait.
            UserError: the request cannot be answered.
        """
        if request.rows > self.limits.max_rows:
            raise TooLargeError(
                f"{counted(request.rows, 'row')}: this server computes {self.limits.max_rows:,} a request: ask for less"
            )
        found = await asyncio.wrap_future(self.batcher.submit(request.call, request.rows))
        return {"rows": found.to_dicts()}

    def described(self) -> schemas.RunDescription:
        """Describe what is served."""
        run = self.recommender.run
        return schemas.RunDescription(
            run=run.folder.resolve().name,
            method=None if run.method is None else run.method.module.name,
            cf=None if run.collaborative is None else run.collaborative.name,
            data=run.data.manifest["name"],
            users=len(self.recommender.users),
            items=len(self.recommender.items),
            version=recsys_lora.__version__,
            other=None if self.other is None else self.other.run.folder.resolve().name,
        )

    def examples(self) -> dict[str, dict[str, Any]]:
        """Return an example request of each kind that this run can answer."""
        user, items = self.recommender.users[0], self.recommender.items["item"].head(2).to_list()
        return {
            "recommend": {"users": [user], "k": 3},
            "history": {"users": ["somebody new"], "history": items, "k": 3},
            "score": {"pairs": [[user, item] for item in items]},
            "similar": {"item": items[0], "k": 3},
        }
