"""The routes of a server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Response
from fastapi.security import HTTPBearer

import recsys_lora
from recsys_lora.recommender.recommender import Recommender
from recsys_lora.serving import schemas
from recsys_lora.serving.errors import HANDLERS
from recsys_lora.serving.guard import Guard
from recsys_lora.serving.metrics import MEDIA_TYPE, Metrics
from recsys_lora.serving.page import page
from recsys_lora.serving.service import Options, Service
from recsys_lora.utils.errors import UserError

PAGE, HEALTH, METRICS = "/", "/health", "/metrics"
OTHER = "/other"
"""Prefix of a second run's routes."""
OPEN = (PAGE, HEALTH)
"""Paths that need no token: they reveal nothing about the run."""
CLOSING_SECONDS = 10.0
REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Refused, "description": description}
    for status, description in {
        401: "no token, or a wrong one",
        404: "an unknown id",
        413: "too large",
        421: "called by another name",
        422: "bad input",
        503: "too many requests wait",
        504: "out of time",
    }.items()
}


def make_app(recommender: Recommender, options: Options | None = None, other: Recommender | None = None) -> FastAPI:
    """Return the ASGI app of one or two runs; their worker threads end with the app's lifespan.

    Args:
        recommender: the run.
        options: the server's options.
        other: a run to compare with, with the same users and items; its routes begin with `/other`.

    Raises:
        UserError: the other run has other users or items.
    """
    chosen, metrics = options or Options(), Metrics()
    services = [Service(recommender, chosen.limits, metrics, other)]
    if other is not None:
        refuse_other_data(recommender, other)
        services.append(Service(other, chosen.limits, metrics))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.gather(*(asyncio.to_thread(one.batcher.close, CLOSING_SECONDS) for one in services))

    documented = [] if chosen.token is None else [Depends(HTTPBearer(auto_error=False))]
    app = FastAPI(
        title="recsys_lora",
        summary="A trained run, asked by raw ids",
        version=recsys_lora.__version__,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from other hosts
        redoc_url=None,
        responses=REFUSED,
        dependencies=documented,
        exception_handlers=HANDLERS,
    )
    _add_states(app, services, metrics)
    routers = [
        make(service, prefix)
        for service, prefix in zip(services, ("", OTHER), strict=False)
        for make in (_answers, _views)
    ]
    routes = {path for one in (app.router, *routers) for route in one.routes if (path := getattr(route, "path", None))}
    for router in routers:
        app.include_router(router)
    app.add_middleware(Guard, options=chosen, metrics=metrics, routes=routes, open_routes=OPEN)
    return app


def refuse_other_data(run: Recommender, other: Recommender) -> None:
    """Refuse two runs that cannot be asked the same questions.

    Raises:
        UserError: their users or items differ.
    """
    if set(run.users) != set(other.users) or set(run.items["item"]) != set(other.items["item"]):
        raise UserError(
            f"other={other.run.folder}: has other users or items than run={run.run.folder}: serve two runs of one data "
            "set"
        )


def _answers(service: Service, prefix: str) -> APIRouter:
    """Return the routes that are computed in batches."""
    router, example = APIRouter(prefix=prefix), service.examples()

    def named(*names: str) -> Any:
        return Body(openapi_examples={name: {"value": example[name]} for name in names})

    @router.post("/recommend", response_model=schemas.ScoredRows)
    async def recommend(request: Annotated[schemas.RecommendRequest, named("recommend", "history")]) -> dict[str, Any]:
        """Recommend items: the CF model retrieves from the whole catalogue, the language model ranks."""
        return await service.rows(request)

    @router.post("/score", response_model=schemas.ScoredRows)
    async def score(request: Annotated[schemas.ScoreRequest, named("score")]) -> dict[str, Any]:
        """Score (user, item) pairs; ranks are within each user's pairs."""
        return await service.rows(request)

    @router.post("/similar", response_model=schemas.SimilarRows)
    async def similar(request: Annotated[schemas.SimilarRequest, named("similar")]) -> dict[str, Any]:
        """Find similar items by the CF model's vectors."""
        return await service.rows(request)

    return router


def _views(service: Service, prefix: str) -> APIRouter:
    """Return the routes that only look something up."""
    router = APIRouter(prefix=prefix)

    @router.get("/users")
    def users(
        search: Annotated[str, Query(max_length=schemas.LONGEST_ID)] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> schemas.Users:
        """Find users whose id begins with a text; an exact match comes first."""
        found = [user for user in service.recommender.users if user.startswith(search)]
        found.sort(key=lambda user: user != search)
        return schemas.Users(users=found[:limit], total=len(found))

    @router.get("/history")
    def history(user: Annotated[str, Query(max_length=schemas.LONGEST_ID)]) -> schemas.HistoryRows:
        """Return a user's history, oldest first."""
        return schemas.HistoryRows.model_validate({"rows": service.recommender.history(user).to_dicts()})

    @router.get("/run")
    def run() -> schemas.RunDescription:
        """Describe what is served."""
        return service.described()

    return router


def _add_states(app: FastAPI, services: Sequence[Service], metrics: Metrics) -> None:
    """Add the routes about the server as a whole, and the page."""

    @app.get(HEALTH)
    async def health(response: Response) -> schemas.Health:
        """Say whether requests are answered."""
        alive = all(service.batcher.alive for service in services)
        response.status_code = 200 if alive else 503
        return schemas.Health(status="ok" if alive else "worker ended")

    @app.get(METRICS, response_class=Response)
    async def counted() -> Response:
        """Return counts and times in Prometheus' format."""
        waiting = sum(service.batcher.waiting for service in services)
        gauges = {"waiting_requests": ("Requests that wait for a batch.", float(waiting))}
        return Response(metrics.text(gauges), media_type=MEDIA_TYPE)

    @app.get(PAGE, include_in_schema=False)
    async def look() -> Response:
        return page()
