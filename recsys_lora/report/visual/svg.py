"""Plots as inline SVG: axes with ticks and units, lines, dots with intervals, bars; colours are in style.css."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

STYLES = 6
"""Number of distinct styles; the next series looks like the first again."""
_RIGHT, _TOP, _BOTTOM = 14, 12, 44
"""Margins; the left one depends on the tick labels."""
_LETTER = 6.3
"""Approximate width of a letter in a tick label."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: title, with the unit.
        low: lower end.
        high: upper end.
        ticks: values and their labels.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


def axis(title: str, values: Sequence[float], *, zero: bool = False, ticks: int = 5) -> Axis:
    """Return an axis between two round numbers that covers all values, and also 0 if `zero` is set."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    step = _step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    found = [number * step for number in range(first, last + 1)]
    return Axis(title, found[0], found[-1], [(value, _written(value, step)) for value in found])


def categories(title: str, names: Sequence[str]) -> Axis:
    """Return an axis of names: the first at 0, the second at 1, and so on."""
    return Axis(title, -0.5, max(len(names) - 0.5, 0.5), list(enumerate(names)))


def _written(value: float, step: float) -> str:
    """Format a tick with as many decimals as the step between ticks needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}" if digits < 7 else f"{value:.2g}"


def _step(width: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least `width`."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= width * (1 - 1e-9))


@dataclass
class Plot:
    """A plot to draw on.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        label: description for those who cannot see the plot.
        width: width of the picture.
        height: height of the picture.
    """

    x: Axis
    y: Axis
    label: str
    width: float = 460
    height: float = 290
    _drawn: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Left edge of the plot area, after the labels of the vertical axis."""
        return 34 + _LETTER * max(len(text) for _, text in self.y.ticks)

    def line(self, xs: Sequence[float], ys: Sequence[float], style: int, tip: str = "") -> None:
        """Draw a line through points."""
        points = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self._drawn.append(f'<polyline class="line s{style % STYLES}" points="{points}">{_tip(tip)}</polyline>')

    def dot(self, x: float, y: float, style: int, tip: str = "") -> None:
        """Draw a point."""
        at = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}"'
        self._drawn.append(f'<circle class="dot f{style % STYLES}" {at} r="3.6">{_tip(tip)}</circle>')

    def segment(self, start: tuple[float, float], end: tuple[float, float], style: int | None = None) -> None:
        """Draw a straight line: an interval of a series, or a reference line if no style is given."""
        (x0, y0), (x1, y1) = start, end
        kind = "reference" if style is None else f"interval s{style % STYLES}"
        ends = f'x1="{self._x(x0):.1f}" y1="{self._y(y0):.1f}" x2="{self._x(x1):.1f}" y2="{self._y(y1):.1f}"'
        self._drawn.append(f'<line class="{kind}" {ends}/>')

    def bar(self, start: tuple[float, float], end: tuple[float, float], style: int, tip: str = "") -> None:
        """Draw a filled rectangle between two opposite corners."""
        xs, ys = sorted((self._x(start[0]), self._x(end[0]))), sorted((self._y(start[1]), self._y(end[1])))
        size = f'width="{xs[1] - xs[0]:.1f}" height="{ys[1] - ys[0]:.1f}"'
        place = f'x="{xs[0]:.1f}" y="{ys[0]:.1f}" {size}'
        self._drawn.append(f'<rect class="bar f{style % STYLES}" {place}>{_tip(tip)}</rect>')

    def svg(self) -> str:
        """Return the picture."""
        size = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        inside = [*self._grid(), *self._drawn, *self._titles()]
        return f'<svg {size} role="img" aria-label="{escape(self.label)}">{"".join(inside)}</svg>'

    def _x(self, value: float) -> float:
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return self.left + share * (self.width - self.left - _RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def _grid(self) -> list[str]:
        top, bottom, right = _TOP, self.height - _BOTTOM, self.width - _RIGHT
        found = []
        for value, text in self.x.ticks:
            x = self._x(value)
            found.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom:g}"/>')
            for number, part in enumerate(text.split("\n")):
                found.append(_text(x, bottom + 14 + 12 * number, part, "middle"))
        for value, text in self.y.ticks:
            y = self._y(value)
            found.append(f'<line class="grid" x1="{self.left:.1f}" y1="{y:.1f}" x2="{right:g}" y2="{y:.1f}"/>')
            found.append(_text(self.left - 6, y + 4, text, "end"))
        frame = f'x="{self.left:.1f}" y="{top}" width="{right - self.left:.1f}" height="{bottom - top:g}"'
        return [*found, f'<rect class="frame" {frame}/>']

    def _titles(self) -> list[str]:
        middle, height = (self.left + self.width - _RIGHT) / 2, (_TOP + self.height - _BOTTOM) / 2
        turned = f'transform="rotate(-90 13 {height:.1f})"'
        return [
            _text(middle, self.height - 5, self.x.title, "middle", "title"),
            f'<text class="title" x="13" y="{height:.1f}" text-anchor="middle" {turned}>{escape(self.y.title)}</text>',
        ]


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""
