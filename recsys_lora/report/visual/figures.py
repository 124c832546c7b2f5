"""Figures of a report: each draws several series, lines of one run or methods of several, on the same axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_lora.evaluation.ranking import user_auc
from recsys_lora.report.table import number
from recsys_lora.report.visual.markup import figure
from recsys_lora.report.visual.scored import Flags, Scored, auc_within, calibration, roc, slices
from recsys_lora.report.visual.svg import Axis, Plot, axis, categories
from recsys_lora.utils.words import counted

_SHARES = tuple(tick / 5 for tick in range(6))
_USER_BINS = 10
_LONGEST = 28
"""Maximum characters of a name beside a plot; longer ones go above it."""
_SMALLEST = 10
"""Minimum number of questions of a slice that is shown."""


@dataclass(frozen=True)
class Curve:
    """Values over steps."""

    name: str
    style: int
    xs: Sequence[float]
    ys: Sequence[float]


def _share_axis(title: str) -> Axis:
    return Axis(title, 0.0, 1.0, [(share, number(share, 1)) for share in _SHARES])


def intervals(title: str, metric: str, values: Sequence[tuple[str, int, float, Sequence[float] | None]]) -> str:
    """Draw one metric of several lines (name, style, value, interval) as dots with intervals, the first at the top."""
    if not values:
        return ""
    called = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name, *_ in values]
    up = categories("", called[::-1])
    known = [end for _, _, value, ends in values for end in (value, *(ends or ()))]
    across = axis(metric, known, ticks=3 if max(map(len, called)) > _LONGEST / 2 else 5)
    plot = Plot(across, up, f"{title}: dots with 95 % intervals", height=60 + 24 * len(values))
    for place, (name, style, value, ends) in enumerate(reversed(values)):
        if ends:
            plot.segment((ends[0], place), (ends[1], place), style)
        between = f" [{number(ends[0])}, {number(ends[1])}]" if ends else ""
        plot.dot(value, place, style, f"{name}: {number(value)}{between}")
    legend = [(name, style) for name, style, *_ in values] if any(len(name) > _LONGEST for name, *_ in values) else []
    return figure(title, plot.svg(), legend, "bars: 95 % bootstrap intervals over users", dots=True)


def curves(title: str, x: str, y: str, series: Sequence[Curve]) -> str:
    """Draw values over steps."""
    shown = [curve for curve in series if len(curve.xs)]
    if not shown:
        return ""
    across = axis(x, [float(value) for curve in shown for value in curve.xs], zero=True)
    up = axis(y, [float(value) for curve in shown for value in curve.ys])
    plot = Plot(across, up, f"{title}: {y} over {x}")
    for curve in shown:
        plot.line(curve.xs, curve.ys, curve.style, curve.name)
        if len(curve.xs) <= 12:
            for at, value in zip(curve.xs, curve.ys, strict=True):
                plot.dot(at, value, curve.style, f"{curve.name}: {value:.4g} at {at:g}")
    return figure(title, plot.svg(), [(curve.name, curve.style) for curve in shown])


def roc_figure(lines: Sequence[Scored]) -> str:
    """Draw the ROC curve of every line."""
    plot = Plot(_share_axis("false positive rate"), _share_axis("true positive rate"), "ROC curves")
    plot.segment((0, 0), (1, 1))
    for line in lines:
        false, true = roc(line.label, line.score)
        plot.line(false.tolist(), true.tolist(), line.style, line.name)
    return figure("ROC", plot.svg(), _legend(lines), "dotted: chance")


def calibration_figure(lines: Sequence[Scored]) -> str:
    """Draw how often a line's predictions come true, in ten groups of questions."""
    plot = Plot(_share_axis("mean predicted chance"), _share_axis("share of positives"), "calibration")
    plot.segment((0, 0), (1, 1))
    for line in lines:
        for chance, share, error, rows in calibration(line.label, line.score):
            ends = max(0.0, share - 2 * error), min(1.0, share + 2 * error)
            plot.segment((chance, ends[0]), (chance, ends[1]), line.style)
            plot.dot(chance, share, line.style, f"{line.name}: {number(share)} of {rows:,}, predicted {number(chance)}")
    caption = "ten groups of as many questions by predicted chance, the sigmoid of the score; bars: two standard errors"
    return figure(
        "Calibration", plot.svg(), _legend(lines), f"{caption}; on the dotted line chances are right", dots=True
    )


def users_figure(lines: Sequence[Scored]) -> str:
    """Draw the distribution of AUC over users."""
    found = {line.name: user_auc(line.user, line.label, line.score)[1] for line in lines}
    counts = {name: np.histogram(values, _USER_BINS, (0.0, 1.0))[0] for name, values in found.items()}
    highest = max((int(count.max()) for count in counts.values()), default=0)
    if not highest:
        return ""
    plot = Plot(_share_axis("a user's own AUC"), axis("users", [0.0, float(highest)]), "AUC by user")
    width = 1 / _USER_BINS / (len(lines) + 0.5)
    for place, line in enumerate(lines):
        for slot, count in enumerate(counts[line.name].tolist()):
            start = slot / _USER_BINS + (place + 0.25) * width
            between = f"{number(slot / _USER_BINS, 1)} to {number((slot + 1) / _USER_BINS, 1)}"
            plot.bar(
                (start, 0), (start + width, count), line.style, f"{line.name}: {counted(count, 'user')}, {between}"
            )
    means = "; ".join(f"{name} {number(float(values.mean()))}" for name, values in found.items() if len(values))
    users = max(map(len, found.values()))
    caption = f"{counted(users, 'user')} with both classes; UAUC, the mean of these: {means}"
    return figure("AUC by user", plot.svg(), _legend(lines), caption, dots=True)


def slice_figures(lines: Sequence[Scored]) -> list[str]:
    """Draw every line's AUC in the same groups of questions, with one figure for each way to group them."""
    return [_slice_figure(title, groups, lines) for title, groups in slices(lines[0].table).items()]


def _slice_figure(title: str, groups: Sequence[tuple[str, Flags]], lines: Sequence[Scored]) -> str:
    shown = [(name, flags) for name, flags in groups if flags.sum() >= _SMALLEST]
    values = {
        (place, shift): found
        for place, (_, flags) in enumerate(shown)
        for shift, line in enumerate(lines)
        if (found := auc_within(line, flags))
    }
    if not values:
        return ""
    across = categories(title, [f"{name}\n({flags.sum():,})" for name, flags in shown])
    up = axis("AUC", [0.5, *(value for three in values.values() for value in three)])
    plot = Plot(across, up, f"AUC by {title}", height=310)
    plot.segment((across.low, 0.5), (across.high, 0.5))
    for (place, shift), (value, low, high) in values.items():
        line, at = lines[shift], place + (shift - (len(lines) - 1) / 2) * 0.6 / len(lines)
        plot.segment((at, low), (at, high), line.style)
        tip = f"{line.name}, {shown[place][0]}: {number(value)} [{number(low)}, {number(high)}]"
        plot.dot(at, value, line.style, tip)
    caption = (
        f"in brackets: questions; groups below {_SMALLEST} are left out; bars: 95 % bootstrap intervals over users"
    )
    return figure(f"AUC by {title}", plot.svg(), _legend(lines), caption, dots=True)


def bars(title: str, y: str, values: Mapping[str, float]) -> str:
    """Draw one bar per name."""
    if not values:
        return ""
    plot = Plot(categories("", list(values)), axis(y, list(values.values()), zero=True), title, height=240)
    for place, (name, value) in enumerate(values.items()):
        plot.bar((place - 0.3, 0), (place + 0.3, value), 1, f"{name}: {value:,.4g}")
    return figure(title, plot.svg())


def _legend(lines: Sequence[Scored]) -> list[tuple[str, int]]:
    return [(line.name, line.style) for line in lines]
