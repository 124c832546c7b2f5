"""A run as tools of the Model Context Protocol, for assistants that call tools by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

import recsys_lora
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.serving.schemas import Count, History, HistoryRows, Id, ScoredRows, SimilarRows
from recsys_lora.utils.errors import UserError
from recsys_lora.utils.words import counted

ONLY_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
T = TypeVar("T")


def make_tools(recommender: Recommender, max_rows: int = 5000) -> MCPServer[Any]:
    """Return a server with the tools recommend, score, similar and history, limited to `max_rows` pairs per call."""
    run = recommender.run
    instructions = (
        f"Recommendations from the data set {run.data.manifest['name']}, by its raw ids of users and items. Scores are "
        "logits: the higher the better, and comparable within one user."
    )
    server: MCPServer[Any] = MCPServer(
        "recsys_lora", version=recsys_lora.__version__, instructions=instructions, log_level="WARNING"
    )

    @server.tool(annotations=ONLY_READS)
    def recommend(
        users: list[Id | None], k: Count = 10, candidates: list[Id] | None = None, history: History = None
    ) -> ScoredRows:
        """Recommend k items to each user, or rank candidates; an unknown user or null needs a history, oldest first."""
        _check(len(users) * (100 if candidates is None else len(candidates)), max_rows)
        found = _told(lambda: recommender.recommend(users, k, candidates, history=history))
        return ScoredRows.model_validate({"rows": found.to_dicts()})

    @server.tool(annotations=ONLY_READS)
    def score(pairs: list[tuple[Id | None, Id]], history: History = None) -> ScoredRows:
        """Score (user, item) pairs: how much each user would like each item."""
        _check(len(pairs), max_rows)
        return ScoredRows.model_validate({"rows": _told(lambda: recommender.score(pairs, history)).to_dicts()})

    @server.tool(annotations=ONLY_READS)
    def similar(item: Id, k: Count = 10) -> SimilarRows:
        """Find the k items that the same people like."""
        _check(k, max_rows)
        return SimilarRows.model_validate({"rows": _told(lambda: recommender.similar(item, k)).to_dicts()})

    @server.tool(annotations=ONLY_READS)
    def history(user: Id) -> HistoryRows:
        """Return a user's history, oldest first, and which items were liked."""
        return HistoryRows.model_validate({"rows": _told(lambda: recommender.history(user)).to_dicts()})

    return server


def _told(ask: Callable[[], T]) -> T:
    """Return the answer, or let the assistant read what is wrong."""
    try:
        return ask()
    except UserError as error:
        raise ToolError(str(error)) from error


def _check(rows: int, most: int) -> None:
    if rows > most:
        raise ToolError(f"{counted(rows, 'row')}: this server computes {most:,} a call: ask for less")
