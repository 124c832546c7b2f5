"""Checks before the routes: who may ask, how much, how long; and the security headers of every response."""

import asyncio
import hmac
import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys_lora.serving.errors import refused
from recsys_lora.serving.metrics import Metrics
from recsys_lora.serving.service import Options

SAFE = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of every response. There is no Access-Control header: pages from other origins cannot read responses."""
UNKNOWN, GONE = "other", 499
"""How requests for other paths are counted, and those whose client has disconnected."""


@dataclass
class Guard:
    """Middleware that checks host name and token, limits a request's size and time, and counts and times every answer.

    Args:
        app: the guarded app.
        options: token, host names, size and time.
        metrics: the server's metrics.
        routes: paths that are counted by name.
        open_routes: paths that need no token.
    """

    app: ASGIApp
    options: Options
    metrics: Metrics
    routes: Collection[str]
    open_routes: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def send_safe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SAFE.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._answer(scope, receive, send_safe)
        except ClientDisconnect:
            status = GONE
        finally:
            route = scope["path"] if scope["path"] in self.routes else UNKNOWN
            self.metrics.answered(route, status, time.perf_counter() - begun)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_meant(scope):
            answer = refused(421, "wrong_host", "not a name of this server: call it by its address, or give it a token")
            await answer(scope, receive, send)
            return
        if not self._may_ask(scope):
            answer = refused(401, "unauthorized", "give Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")
            await answer(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self.options.timeout):
                body = await self._body(scope, receive)
                if body is None:
                    answer = refused(413, "too_large", f"more than {self.options.max_body:,} bytes", Connection="close")
                    await answer(scope, receive, watched)
                else:
                    await self.app(scope, _replayed(body, receive), watched)
        except TimeoutError:
            if begun:
                raise
            await refused(504, "timeout", f"no answer within {self.options.timeout:g} seconds")(scope, receive, send)

    def _is_meant(self, scope: Scope) -> bool:
        if self.options.hosts is None:
            return True
        name = Headers(scope=scope).get("host", "")
        return re.sub(r":\d*$", "", name).strip("[]").lower() in self.options.hosts

    def _may_ask(self, scope: Scope) -> bool:
        """Compare the whole token, in a time that does not depend on how much of it is right."""
        token = self.options.token
        if token is None or scope["path"] in self.open_routes:
            return True
        given = Headers(scope=scope).get("authorization", "")
        kind, _, word = given.partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(word.strip().encode(), token.encode())

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read a body; None if it is too large."""
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > self.options.max_body:
            return None
        parts, size = [], 0
        async for part in Request(scope, receive).stream():
            size += len(part)
            if size > self.options.max_body:
                return None
            parts.append(part)
        return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `Receive` that gives the body at once, and then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
