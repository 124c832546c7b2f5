"""Plots: where ticks stand, where values are drawn, and that words are escaped."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from recsys_lora.report.visual.svg import Plot, axis, categories


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.4449, 0.7671], ["0.4", "0.5", "0.6", "0.7", "0.8"]),
        ([0, 46], ["0", "10", "20", "30", "40", "50"]),
        ([3.0, 12_345.0], ["0", "5,000", "10,000", "15,000"]),
        ([-0.03, 0.02], ["-0.03", "-0.02", "-0.01", "0.00", "0.01", "0.02"]),
        ([0.0001, 0.00049], ["0.0001", "0.0002", "0.0003", "0.0004", "0.0005"]),
        ([2.0], ["1.0", "1.5", "2.0", "2.5", "3.0"]),
        ([], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values, labels):
    found = axis("x", values)
    assert [text for _, text in found.ticks] == labels
    assert all(found.low <= value <= found.high for value in values)


def test_ticks_of_any_values_are_few_and_even():
    random = np.random.default_rng(0)
    for _ in range(300):
        values = (random.normal(size=3) * 10.0 ** random.integers(-8, 9)).tolist()
        found = axis("x", values)
        places = [place for place, _ in found.ticks]
        assert 2 <= len(places) <= 9
        np.testing.assert_allclose(np.diff(places), np.diff(places)[0], rtol=1e-6)
        assert min(values) >= found.low - 1e-9 * abs(found.low)
        assert max(values) <= found.high + 1e-9 * abs(found.high)


def test_an_axis_from_zero():
    assert axis("x", [3.0, 9.0], zero=True).low == 0
    assert axis("x", [-3.0, -9.0], zero=True).high == 0


def drawn():
    plot = Plot(axis("step & <b>", [0, 10]), axis("y", [0, 100]), 'a "label"')
    plot.line([0, 5, 10], [0, 50, 100], 1, "<script>")
    plot.dot(0, 0, 0, "a & b")
    plot.dot(10, 100, 0)
    plot.bar((2, 0), (4, 100), 3, "bar")
    plot.segment((0, 0), (10, 100))
    return plot


def test_a_picture_is_well_formed_and_its_words_are_escaped():
    text = drawn().svg()
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == 'a "label"'
    assert "<script>" not in text
    assert {found.text for found in root.iter("title")} == {"<script>", "a & b", "bar"}
    assert "step & <b>" in {found.text for found in root.iter("text")}


def test_values_are_drawn_where_the_axes_say():
    root = ElementTree.fromstring(drawn().svg())
    frame = next(one for one in root.iter("rect") if one.attrib["class"] == "frame").attrib
    left, top, width, height = (float(frame[name]) for name in ("x", "y", "width", "height"))
    low, high = ((float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter("circle"))
    assert low == pytest.approx((left, top + height), abs=0.1)
    assert high == pytest.approx((left + width, top), abs=0.1)
    points = re.findall(r"([\d.]+),([\d.]+)", next(root.iter("polyline")).attrib["points"])
    assert tuple(map(float, points[1])) == pytest.approx((left + width / 2, top + height / 2), abs=0.1)
    bar = next(one for one in root.iter("rect") if "bar" in one.attrib["class"]).attrib
    assert float(bar["x"]) == pytest.approx(left + 0.2 * width, abs=0.1)
    assert float(bar["width"]) == pytest.approx(0.2 * width, abs=0.1)
    assert float(bar["height"]) == pytest.approx(height, abs=0.1)


def test_names_stand_in_the_middle_of_their_places():
    root = ElementTree.fromstring(Plot(categories("kind", ["a", "b\n(3)"]), axis("y", [0, 1]), "names").svg())
    ticks = {one.text: float(one.attrib["x"]) for one in root.iter("text") if one.attrib["text-anchor"] == "middle"}
    frame = next(one for one in root.iter("rect")).attrib
    left, width = float(frame["x"]), float(frame["width"])
    assert ticks["a"] == pytest.approx(left + width / 4, abs=0.1)
    assert ticks["b"] == ticks["(3)"] == pytest.approx(left + 3 * width / 4, abs=0.1)
