"""A server's web page, with a policy that allows only its own style and script."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.responses import HTMLResponse, Response

FILE = "page.html"
INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def page() -> Response:
    """Return the page."""
    html = source()
    return HTMLResponse(html, headers={"Content-Security-Policy": policy(html)})


@cache
def source() -> str:
    """Return the page's text."""
    return (files(__package__) / FILE).read_text(encoding="utf-8")


def policy(html: str) -> str:
    """Return the Content-Security-Policy of a page: its inline style and script by hash, requests to its own origin."""
    digests = {kind: hashlib.sha256(text.encode()).digest() for kind, text in INLINE.findall(html)}
    allowed = {kind: f"'sha256-{base64.b64encode(digest).decode()}'" for kind, digest in digests.items()}
    parts = {
        "default-src": "'none'",
        "script-src": allowed["script"],
        "style-src": allowed["style"],
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())
