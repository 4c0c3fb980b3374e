"""Charts: places, ticks and well-formed SVG."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from pellucid.web import charts
from pellucid.web.charts import Series
from pellucid.web.scales import Scale, fit, tick_text


def test_a_scale_maps_ends_to_ends_and_logs_evenly():
    assert [Scale(0.0, 10.0, 100.0, 200.0)(v) for v in (0.0, 5.0, 10.0)] == [100.0, 150.0, 200.0]
    assert [Scale(1.0, 100.0, 0.0, 100.0, log=True)(v) for v in (1.0, 10.0, 100.0)] == [0.0, 50.0, 100.0]


@pytest.mark.parametrize("values", [(0.0, 0.0), (3.0, 3.0), (-1.0, 2.0), (1e-9, 2e-9), (0.0, 4.2e6), (-5.0, -4.0)])
def test_ticks_are_inside_the_range_and_few(values):
    for zero in (False, True):
        scale = fit(values, 0.0, 100.0, zero=zero)
        ticks = scale.ticks(5)
        assert 2 <= len(ticks) <= 12
        assert all(-0.5 <= scale(tick) <= 100.5 for tick in ticks)
        assert scale.low <= min(values) and max(values) <= scale.high


def test_values_that_span_much_are_drawn_on_a_log_scale_unless_one_is_not_positive():
    assert fit([0.01, 10.0], 0.0, 1.0, log=None).log
    assert not fit([1.0, 10.0], 0.0, 1.0, log=None).log
    assert not fit([0.0, 10.0], 0.0, 1.0, log=None).log
    assert len(fit([1e-6, 10.0], 0.0, 1.0, log=None).ticks(4)) <= 8


def test_tick_labels_share_the_unit_of_the_greatest():
    assert [tick_text(v, (0.0, 5e5, 1e6)) for v in (0.0, 5e5, 1e6)] == ["0", "0.5M", "1M"]
    assert [tick_text(v, (1000.0, 3000.0)) for v in (1000.0, 3000.0)] == ["1000", "3000"]
    assert tick_text(20000.0, (20000.0,)) == "20k"
    assert tick_text(1e-6) == "1e-6"


def test_charts_are_well_formed_and_escape_names():
    hostile = '</title><script>alert("1")</script>\x00'
    series = [Series(hostile, 0, points=[(1.0, 2.0)], tips=[hostile], line=[(1.0, 2.0), (2.0, 1.0)])]
    drawn = [charts.scatter(series, "x", "y"), charts.lines(series, "x", "y")]
    drawn += [
        charts.lines(series[:1], "site", "y", ["a", "b", hostile]),
        charts.histogram([-2.0, -1.0, 0.0], [3.0, 0.0], "x", 1),
    ]
    drawn += [charts.marker(i) for i in range(10)]
    for svg in drawn:
        ElementTree.fromstring(svg)
        assert "<script" not in svg


def test_a_point_is_where_its_axes_say():
    series = [Series("a", 0, points=[(0.0, 0.0)], tips=["zero"])]
    root = ElementTree.fromstring(charts.scatter(series, "x", "y"))
    circle = root.find(".//circle")
    assert circle is not None
    assert float(circle.get("cx", "0")) == charts.LEFT
    assert float(circle.get("cy", "0")) == charts.HEIGHT - charts.BOTTOM
