"""The contents of requests and responses, as OpenAPI describes them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from recsys_lora.recommender.calls import ListCall, ScoreCall, SimilarCall

LONGEST_ID = 256
MOST = 1_000_000

Id = Annotated[StrictStr, Field(max_length=LONGEST_ID)] | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]
"""A raw id; an integer stands for its digits."""
Count = Annotated[StrictInt, Field(ge=1, le=MOST)]
History = list[Id] | dict[Id, list[Id]] | None
LIKED = Field(
    default=None,
    description="Liked items, oldest first, of the one user or by user, in the place of what is known.",
)


class Request(BaseModel):
    """The base of all requests: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class RecommendRequest(Request):
    """Recommend items to some users."""

    users: list[Id | None] = Field(min_length=1, description="Raw ids; null is an anonymous user.")
    k: Count = Field(default=10, description="Items a user at most.")
    candidates: list[Id] | None = Field(default=None, description="Rank these instead of what the CF model retrieves.")
    exclude_seen: bool = Field(default=True, description="Leave out the items of a user's history.")
    retrieve: Count = Field(default=100, description="Items a user that the CF model retrieves.")
    history: History = LIKED

    @property
    def rows(self) -> int:
        """How many pairs are scored at most."""
        return len(self.users) * (self.retrieve if self.candidates is None else len(self.candidates))

    @property
    def call(self) -> ListCall:
        """The request as a call of the recommender."""
        return ListCall(self.users, self.k, self.candidates, self.exclude_seen, self.retrieve, self.history)


class ScoreRequest(Request):
    """Score (user, item) pairs."""

    pairs: list[tuple[Id | None, Id]] = Field(min_length=1, description="Raw ids of users and items.")
    history: History = LIKED

    @property
    def rows(self) -> int:
        """How many pairs are scored."""
        return len(self.pairs)

    @property
    def call(self) -> ScoreCall:
        """The request as a call of the recommender."""
        return ScoreCall(self.pairs, self.history)


class SimilarRequest(Request):
    """Find items whose collaborative vectors are similar."""

    item: Id = Field(description="A raw id.")
    k: Count = Field(default=10, description="Items at most.")

    @property
    def rows(self) -> int:
        """How many rows the answer has at most."""
        return self.k

    @property
    def call(self) -> SimilarCall:
        """The request as a call of the recommender."""
        return SimilarCall(self.item, self.k)


class Scored(BaseModel):
    """An item with its scores for a user."""

    user: str | None
    item: str
    title: str
    score: float | None = Field(description="What the method says; null where the list is what is popular.")
    rank: int
    cf_score: float | None = Field(description="The CF model's logit; null where the run has none.")
    cf_rank: int | None
    by: str = Field(description="What ranked: the method's name, or popularity.")


class ScoredRows(BaseModel):
    """Rows of lists, best first, users in the order given; or of pairs, in the order given."""

    rows: list[Scored]


class Similar(BaseModel):
    """A similar item."""

    item: str
    title: str
    score: float = Field(description="The cosine.")
    rank: int


class SimilarRows(BaseModel):
    """Similar items, nearest first."""

    rows: list[Similar]


class HistoryRow(BaseModel):
    """An item of a user's history."""

    item: str
    title: str
    rating: float
    liked: bool


class HistoryRows(BaseModel):
    """A user's history, oldest first."""

    rows: list[HistoryRow]


class Users(BaseModel):
    """Raw ids of users."""

    users: list[str]
    total: int = Field(description="How many match.")


class RunDescription(BaseModel):
    """What is served."""

    run: str
    method: str | None
    cf: str | None
    data: str
    users: int
    items: int
    version: str
    other: str | None = Field(description="The run beside it, whose routes begin with /other.")


class Health(BaseModel):
    """Whether requests are answered."""

    status: str


class Problem(BaseModel):
    """What is wrong, in one line."""

    type: str = Field(description="For programs; docs/serving.md lists them.")
    message: str


class Refused(BaseModel):
    """Why there is no answer."""

    error: Problem
