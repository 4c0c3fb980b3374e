"""Charts as inline SVG: a few kilobytes, coloured by the page's style sheet, readable without scripts.

Drawn by hand rather than with plotly because a report is opened far more often than it is zoomed: it stays small, follows
the reader's light or dark setting, and prints. Hover values come from `script.js`; every number also stands in a table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement, tostring

from pellucid.web.scales import Scale, fit, tick_text
from pellucid.web.text import visible

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 54.0, 12.0, 12.0, 42.0
COLOURS = 8
"""How many series colours style.css has; later series repeat them with another marker and dash."""


@dataclass(frozen=True)
class Series:
    """One curve: a line, points, or both."""

    label: str
    colour: int
    points: Sequence[tuple[float, float]] = ()
    """Marked places."""
    tips: Sequence[str] = ()
    """What hovering each point says."""
    line: Sequence[tuple[float, float]] = ()
    """Places joined by straight lines."""
    shade: int = 0
    """0 is full strength; greater is fainter (to tell apart dictionaries of one group)."""
    faint: frozenset[int] = field(default_factory=frozenset)
    """Indices of points drawn hollow (off the front)."""


def scatter(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """Return a scatter plot with lines; both axes linear, from zero."""
    places = [place for one in series for place in (*one.points, *one.line)]
    x = fit([place[0] for place in places], LEFT, WIDTH - RIGHT, zero=True)
    y = fit([place[1] for place in places], HEIGHT - BOTTOM, TOP, zero=True)
    svg = _frame(x, y, x_label, y_label)
    for one in series:
        _line(svg, one, x, y)
    for one in series:
        for index, (place, tip) in enumerate(zip(one.points, one.tips, strict=True)):
            mark = _mark(svg, one.colour, x(place[0]), y(place[1]), index in one.faint)
            SubElement(mark, "title").text = visible(tip)
    return _text(svg)


def lines(series: Sequence[Series], x_label: str, y_label: str, x_names: Sequence[str] | None = None) -> str:
    """Return a line chart; y is log where the values are positive and span much, x may be named places 0, 1, ..."""
    places = [place for one in series for place in one.line]
    x = fit([place[0] for place in places], LEFT, WIDTH - RIGHT, zero=x_names is None)
    y = fit([place[1] for place in places], HEIGHT - BOTTOM, TOP, zero=True)
    bent = fit([place[1] for place in places], HEIGHT - BOTTOM, TOP, log=None)
    y = bent if bent.log else y
    svg = _frame(x, y, x_label, f"{y_label} (log scale)" if y.log else y_label, x_names)
    svg.set("class", "chart lines")
    for one in series:
        element = _line(svg, one, x, y)
        element.set("data-name", visible(one.label))
        shown = [x_names[int(a)] if x_names else f"{a:,.0f}" for a, _ in one.line]
        element.set("data-values", json.dumps([[visible(a), f"{b:.4g}"] for a, (_, b) in zip(shown, one.line, strict=True)]))
    return _text(svg)


def histogram(edges: Sequence[float], counts: Sequence[float], x_label: str, colour: int, counted: str = "latents") -> str:
    """Return bars: counts[i] of what is `counted` between edges[i] and edges[i + 1]."""
    height = 190.0
    x = Scale(edges[0], edges[-1], LEFT, WIDTH - RIGHT)
    y = fit([*counts, 1.0], height - BOTTOM, TOP, zero=True)
    svg = _frame(x, y, x_label, counted, height=height)
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        if count:
            width = max(x(high) - x(low) - 1, 0.5)
            place = {"x": f"{x(low):g}", "y": f"{y(count):g}", "width": f"{width:.1f}", "height": f"{y(0.0) - y(count):.1f}"}
            bar = SubElement(svg, "rect", {"class": f"bar c{colour % COLOURS}", **place})
            SubElement(bar, "title").text = f"{count:,.0f} {counted}, {low:.2f} to {high:.2f}"
    return _text(svg)


def marker(colour: int) -> str:
    """Return a small SVG of a series' marker, for a legend."""
    svg = Element("svg", {"class": "key", "viewBox": "-6 -6 12 12", "aria-hidden": "true"})
    _mark(svg, colour, 0.0, 0.0, False)
    return _text(svg)


def _frame(
    x: Scale, y: Scale, x_label: str, y_label: str, x_names: Sequence[str] | None = None, height: float = HEIGHT
) -> Element:
    label = f"{y_label} against {x_label}"
    svg = Element("svg", {"class": "chart", "viewBox": f"0 0 {WIDTH:g} {height:g}", "role": "img", "aria-label": label})
    grid = SubElement(svg, "g", {"class": "grid"})
    ticks = y.ticks(4)
    for tick in ticks:
        at = f"{y(tick):g}"
        SubElement(grid, "line", {"x1": f"{LEFT:g}", "x2": f"{WIDTH - RIGHT:g}", "y1": at, "y2": at})
        SubElement(grid, "text", {"x": f"{LEFT - 7:g}", "y": at, "dy": "0.32em", "class": "y"}).text = tick_text(tick, ticks)
    floor = height - BOTTOM
    SubElement(
        svg, "line", {"class": "axis", "x1": f"{LEFT:g}", "x2": f"{WIDTH - RIGHT:g}", "y1": f"{floor:g}", "y2": f"{floor:g}"}
    )
    for place, name in _x_ticks(x, x_names):
        SubElement(grid, "text", {"x": f"{place:g}", "y": f"{floor + 16:g}", "class": "x"}).text = name
    SubElement(svg, "text", {"class": "label x", "x": f"{(LEFT + WIDTH - RIGHT) / 2:g}", "y": f"{height - 6:g}"}).text = x_label
    middle = (TOP + floor) / 2
    turned = {"class": "label x", "transform": f"translate(11 {middle:g}) rotate(-90)"}
    SubElement(svg, "text", turned).text = y_label
    return svg


def _x_ticks(x: Scale, names: Sequence[str] | None) -> list[tuple[float, str]]:
    if names is None:
        ticks = x.ticks(6)
        return [(x(tick), tick_text(tick, ticks)) for tick in ticks]
    step = max(1, -(-len(names) // 8))
    return [(x(float(i)), visible(names[i])) for i in range(0, len(names), step)]


def _line(svg: Element, one: Series, x: Scale, y: Scale) -> Element:
    points = " ".join(f"{x(a):g},{y(b):g}" for a, b in one.line)
    dash = f" d{one.colour // COLOURS % 3}" if one.colour >= COLOURS else ""
    return SubElement(svg, "polyline", {"class": f"line c{one.colour % COLOURS} s{min(one.shade, 3)}{dash}", "points": points})


def _mark(svg: Element, colour: int, x: float, y: float, hollow: bool) -> Element:
    """A marker whose shape tells series apart without colour."""
    kind = {"class": f"mark c{colour % COLOURS}{' hollow' if hollow else ''}"}
    shape = (colour + colour // COLOURS) % 4
    if shape == 0:
        return SubElement(svg, "circle", {**kind, "cx": f"{x:g}", "cy": f"{y:g}", "r": "4.2"})
    outline = {
        1: ((-4, -4), (4, -4), (4, 4), (-4, 4)),
        2: ((0, -5), (5, 4), (-5, 4)),
        3: ((0, -5.5), (5, 0), (0, 5.5), (-5, 0)),
    }[shape]
    return SubElement(svg, "polygon", {**kind, "points": " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in outline)})


def _text(svg: Element) -> str:
    return tostring(svg, encoding="unicode", short_empty_elements=False)
