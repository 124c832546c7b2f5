"""Errors as responses: a status, a type for programs and one line for people."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from recsys_lora.recommender.queries import UnknownIdError
from recsys_lora.serving.batcher import BusyError
from recsys_lora.utils.errors import UserError

BUSY_SECONDS = "1"
OF_HTTP = {404: "no_route", 405: "no_method"}
Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


class TooLargeError(Exception):
    """A request asks for more than the server computes at once."""


def refused(status: int, kind: str, message: str, **headers: str) -> Response:
    """Return a response that says what is wrong."""
    body = json.dumps({"error": {"type": kind, "message": message}})
    return Response(
        body, status, {name.replace("_", "-"): value for name, value in headers.items()}, "application/json"
    )


def _as(status: int, kind: str, **headers: str) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        return refused(status, kind, str(error), **headers)

    return answer


async def on_invalid(request: Request, error: Exception) -> Response:
    """422: the request does not match its schema; the first few errors are named."""
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors()[:3]]
    return refused(422, "bad_request", "; ".join(found))


async def on_http(request: Request, error: Exception) -> Response:
    """Unknown routes and methods, and bodies that cannot be read."""
    assert isinstance(error, HTTPException)
    return refused(
        error.status_code,
        OF_HTTP.get(error.status_code, "bad_request"),
        str(error.detail),
        **(dict(error.headers or {})),
    )


async def on_failure(request: Request, error: Exception) -> Response:
    """500: an error of the server; it is in the log, not in the response."""
    return refused(500, "internal", "the server failed: its log says why")


HANDLERS: dict[int | type[Exception], Handler] = {
    UnknownIdError: _as(404, "unknown_id"),
    UserError: _as(422, "bad_request"),
    RequestValidationError: on_invalid,
    TooLargeError: _as(413, "too_large"),
    BusyError: _as(503, "busy", Retry_After=BUSY_SECONDS),
    HTTPException: on_http,
    Exception: on_failure,
}
