"""A server's metrics, as text in Prometheus' exposition format 0.0.4."""

import bisect
import itertools
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping

PREFIX = "recsys_lora"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
Labels = tuple[tuple[str, str], ...]


class Counts:
    """How often something happened, by labels."""

    def __init__(self, name: str, about: str) -> None:
        self.name = name
        self.about = about
        self._values: dict[Labels, int] = defaultdict(int)

    def add(self, **labels: str) -> None:
        """Count one more."""
        self._values[tuple(labels.items())] += 1

    def lines(self) -> Iterator[str]:
        """Yield the text."""
        yield from _head(self.name, self.about, "counter")
        yield from (f"{PREFIX}_{self.name}{_labels(labels)} {value}" for labels, value in self._values.items())


class Histogram:
    """How large something was, by labels.

    Args:
        name: without the prefix.
        about: a description.
        bounds: upper bounds of its buckets, ascending.
    """

    def __init__(self, name: str, about: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.about = about
        self.bounds = bounds
        self._counts: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: dict[Labels, float] = defaultdict(float)

    def add(self, value: float, **labels: str) -> None:
        """Add one value."""
        key = tuple(labels.items())
        self._counts[key][bisect.bisect_left(self.bounds, value)] += 1
        self._sums[key] += value

    def lines(self) -> Iterator[str]:
        """Yield the text; a bucket counts all values up to its bound."""
        yield from _head(self.name, self.about, "histogram")
        for labels, counts in self._counts.items():
            bounds = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
            for bound, count in zip(bounds, itertools.accumulate(counts), strict=True):
                yield f"{PREFIX}_{self.name}_bucket{_labels((*labels, ('le', bound)))} {count}"
            yield f"{PREFIX}_{self.name}_sum{_labels(labels)} {self._sums[labels]:.9g}"
            yield f"{PREFIX}_{self.name}_count{_labels(labels)} {sum(counts)}"


class Metrics:
    """All metrics of a server; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = Counts("requests_total", "Requests, by route and status.")
        self.seconds = Histogram("request_seconds", "Time from a request to its answer, by route.", SECONDS)
        self.batches = Histogram("batch_requests", "Requests of a batch.", SIZES)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        with self._lock:
            self.requests.add(route=route, status=str(status))
            self.seconds.add(seconds, route=route)

    def batched(self, size: int) -> None:
        """Count a batch."""
        with self._lock:
            self.batches.add(size)

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Return everything as text.

        Args:
            gauges: each one's description and current value, by name.
        """
        with self._lock:
            lines = [line for one in (self.requests, self.seconds, self.batches) for line in one.lines()]
        for name, (about, value) in gauges.items():
            lines += [*_head(name, about, "gauge"), f"{PREFIX}_{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, about: str, kind: str) -> tuple[str, str]:
    return f"# HELP {PREFIX}_{name} {about}", f"# TYPE {PREFIX}_{name} {kind}"


def _labels(labels: Labels) -> str:
    """Return labels in braces; the values are routes, statuses and numbers, which need no escaping."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
