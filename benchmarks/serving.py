"""Requests per second and latency of `recsys-lora serve` on loopback: micro-batches against one request at a time.

    python benchmarks/serving.py                        # a random Llama of two layers, trained for a few steps here
    python benchmarks/serving.py --run runs/cora_tuned-ml_100k/DATE --requests 50 --json serving.json

Three servers of one run, each in its own process, are queried in turn by concurrent clients, each of which sends its
next request as soon as it has an answer, over one connection:

    batched      window_ms=5 max_batch=64, the defaults
    no window    window_ms=0 max_batch=64: requests that arrive while a batch is computed form the next one
    one by one   window_ms=0 max_batch=1

`score` asks for one pair, `recommend` for ten items of 20 that the CF model retrieves; users and items vary between
requests. It first checks that all servers give the same scores. Requests per second is the median over rounds; p50 and
p99 are over the requests of all rounds.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import _table
import _timing

MODES = {
    "batched": ("window_ms=5", "max_batch=64"),
    "no window": ("window_ms=0", "max_batch=64"),
    "one by one": ("window_ms=0", "max_batch=1"),
}
COLUMNS = ("route", "clients", "mode", "requests/s", "p50 ms", "p99 ms")
TOLERANCE = 1e-5
SMALL = ("model=cora", "cf=sasrec", "llm=tiny", "budget=smoke", "data=table", "test=false")
Body = dict[str, Any]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = _timing.parser(__doc__, rounds=3)
    parser.add_argument("--run", type=Path, help="folder of a finished run; left out: a tiny one is made")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=200, help="of a round")
    return parser.parse_args(argv)


def made(folder: Path, users: int = 200, items: int = 300) -> Path:
    """Train a tiny run on a table in which users like items of their own parity; return its folder."""
    import numpy as np
    import polars as pl

    import recsys_lora

    generator = np.random.default_rng(0)
    records = [
        (f"u{user}", f"i{item}", 5.0 if (user + item) % 2 else 2.0, when)
        for user in range(users)
        for when, item in enumerate(generator.permutation(items)[:30])
    ]
    pl.DataFrame(records, ["user_id", "item_id", "rating", "timestamp"], orient="row").write_csv(folder / "events.csv")
    named = {"item_id": [f"i{item}" for item in range(items)], "title": [f"Thing {item}" for item in range(items)]}
    pl.DataFrame(named).write_csv(folder / "items.csv")
    os.environ["RECSYS_LORA_HOME"] = str(folder / "home")
    tables = (f"data.interactions={folder / 'events.csv'}", f"data.items={folder / 'items.csv'}")
    recsys_lora.run_config(recsys_lora.compose(*SMALL, *tables, folder=folder / "run"))
    return folder / "run"


@contextlib.contextmanager
def server(run: Path, mode: str, options: argparse.Namespace) -> Iterator[int]:
    """Yield the port of a server in its own process."""
    line = [
        sys.executable,
        "-m",
        "recsys_lora",
        "serve",
        f"run={run}",
        "port=0",
        f"device={options.device}",
        *MODES[mode],
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if options.threads:
        environment["OMP_NUM_THREADS"] = str(options.threads)
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().rsplit(":", 1)[1].strip().strip("/"))
    finally:
        process.terminate()
        process.wait(30)


def bodies(run: Path, requests: int) -> dict[str, list[Body]]:
    """Return the bodies of the requests, by route."""
    import recsys_lora

    loaded = recsys_lora.load(run, device="cpu")
    users, items = loaded.users, loaded.items["item"].to_list()
    pairs = [(users[number % len(users)], items[7 * number % len(items)]) for number in range(requests)]
    return {
        "score": [{"pairs": [pair]} for pair in pairs],
        "recommend": [{"users": [user], "retrieve": 20} for user, _ in pairs],
    }


class Client:
    """A client with one connection that is kept open."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> "Client":
        self.read, self.write = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.write.close()
        await self.write.wait_closed()

    async def ask(self, route: str, body: Body) -> list[Body]:
        """Send a request and return the answer's rows."""
        text = json.dumps(body).encode()
        head = [
            f"POST /{route} HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Content-Length: {len(text)}",
        ]
        self.write.write("\r\n".join([*head, "", ""]).encode() + text)
        lines = (await self.read.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        [length] = [int(line.split(":")[1]) for line in lines if line.startswith("content-length:")]
        answer = await self.read.readexactly(length)
        if " 200 " not in lines[0]:
            sys.exit(f"{route} {body}: {answer.decode()}")
        rows: list[Body] = json.loads(answer)["rows"]
        return rows


async def load(port: int, route: str, asked: Sequence[Body], clients: int) -> tuple[float, list[float]]:
    """Return the total time of all requests and the latency of each, in seconds."""
    waiting, times = iter(asked), []

    async def one() -> None:
        async with Client(port) as client:
            for body in waiting:
                begun = time.perf_counter()
                await client.ask(route, body)
                times.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return time.perf_counter() - begun, times


async def same(ports: dict[str, int], asked: dict[str, list[Body]]) -> None:
    """Exit if the servers' scores differ under concurrent requests."""
    for route, own in asked.items():
        scores = {}
        for mode, port in ports.items():
            connections = [Client(port) for _ in own[:16]]
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(one) for one in connections]
                found = await asyncio.gather(*(one.ask(route, body) for one, body in zip(clients, own, strict=False)))
            scores[mode] = [row["score"] for rows in found for row in rows]
        for mode in ports:
            _timing.same(scores[mode], scores["one by one"], TOLERANCE, route)


def measured(ports: dict[str, int], asked: dict[str, list[Body]], options: argparse.Namespace) -> list[list[str]]:
    """Return the lines of the table."""
    lines = []
    for route, own in asked.items():
        for clients in options.clients:
            speeds: dict[str, list[float]] = {mode: [] for mode in ports}
            times: dict[str, list[float]] = {mode: [] for mode in ports}
            for number in range(options.rounds):
                for mode in list(ports) if number % 2 == 0 else list(reversed(ports)):
                    took, each = asyncio.run(load(ports[mode], route, own, clients))
                    speeds[mode].append(len(own) / took)
                    times[mode] += each
            for mode in ports:
                ordered = [1000 * value for value in sorted(times[mode])]
                p50, p99 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
                speed = statistics.median(speeds[mode])
                lines.append([route, str(clients), mode, f"{speed:.1f}", f"{p50:.1f}", f"{p99:.1f}"])
    return lines


def main(argv: Sequence[str] | None = None) -> list[list[str]]:
    """Measure and print."""
    options = arguments(argv)
    _timing.use_threads(options)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        run = options.run or made(Path(folder))
        asked = bodies(run, options.requests)
        ports = {mode: stack.enter_context(server(run, mode, options)) for mode in MODES}
        asyncio.run(same(ports, asked))
        lines = measured(ports, asked, options)
    shapes = {"run": "tiny" if options.run is None else str(options.run), "requests a round": options.requests}
    about = _table.environment(options, ("torch", "fastapi", "uvicorn"), **shapes, load=f"{os.getloadavg()[0]:.1f}")
    _table.report_counts(COLUMNS, lines, about, options)
    return lines


if __name__ == "__main__":
    main()
