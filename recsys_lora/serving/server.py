"""The server process: it answers until told to end, and then answers the requests still waiting."""

import ipaddress
import math
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import uvicorn

from recsys_lora.recommender.recommender import Recommender
from recsys_lora.serving.app import make_app
from recsys_lora.serving.service import Options
from recsys_lora.utils.console import console
from recsys_lora.utils.errors import UserError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
CONNECTIONS = 100
"""Connections beyond those with waiting requests."""


def serve(recommender: Recommender, host: str, port: int, options: Options, other: Recommender | None = None) -> None:
    """Serve a run until SIGTERM or SIGINT.

    Args:
        recommender: the run.
        host: the address to listen on.
        port: 0 takes a free one, which is printed.
        options: the server's options.
        other: a run to compare with.

    Raises:
        UserError: the other run has other users or items, or the address cannot be listened on.
    """
    if options.token is None and _is_loopback(host):
        options = replace(options, hosts=LOOPBACK | {host.lower()})
    with closing(_listening(host, port)) as listening:
        config = uvicorn.Config(
            make_app(recommender, options, other),
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=options.limits.max_waiting + CONNECTIONS,
            timeout_graceful_shutdown=math.ceil(options.timeout),
        )
        name = f"[{host}]" if ":" in host else host
        if options.token is None and not _is_loopback(host):
            console().print(f"host={host}: everybody who reaches it may ask: give token=...", markup=False)
        console().print(f"http://{name}:{listening.getsockname()[1]}/", markup=False)
        server = uvicorn.Server(config)
        with _ending_well(server):
            server.run([listening])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"host={host} port={port}: {error.strerror}: choose another address") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise UserError(f"host={host} port={port}: {error.strerror}: choose another address") from error
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _ending_well(server: uvicorn.Server) -> Iterator[None]:
    """Let the process continue after the server has ended, when uvicorn raises the signal that ended it once more."""

    def end(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
