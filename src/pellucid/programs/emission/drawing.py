"""An automaton as a picture: SVG that needs no other program, and Graphviz text."""

from __future__ import annotations

from html import escape
from math import cos, hypot, pi, sin

import numpy as np

from pellucid.programs.states.automaton import UNKNOWN, Automaton

MOST_DRAWN = 64
RADIUS, STATE = 220.0, 18.0


def edges(automaton: Automaton) -> dict[tuple[int, int], str]:
    """Return a label for each pair of states with a transition: inputs / output, equal outputs together."""
    grouped: dict[tuple[int, int], dict[str, list[str]]] = {}
    for s, a in np.argwhere((automaton.next != UNKNOWN) & (automaton.known == 1)):
        output = ",".join(map(str, automaton.output[s, a]))
        symbol = ",".join(map(str, automaton.symbols[a]))
        grouped.setdefault((int(s), int(automaton.next[s, a])), {}).setdefault(output, []).append(symbol)
    return {pair: "; ".join(f"{_some(ins)} / {out}" for out, ins in by.items()) for pair, by in grouped.items()}


def _some(symbols: list[str]) -> str:
    return " ".join(symbols) if len(symbols) <= 6 else f"{' '.join(symbols[:3])} ... {symbols[-1]} ({len(symbols)} inputs)"


def automaton_to_dot(automaton: Automaton) -> str:
    """Return Graphviz text."""
    lines = ["digraph automaton {", "  rankdir=LR;", '  start [shape=point, label=""];', "  start -> 0;"]
    lines += [f"  {s} [shape=circle];" for s in range(automaton.n_states)]
    lines += [f'  {a} -> {b} [label="{label}"];' for (a, b), label in edges(automaton).items()]
    return "\n".join([*lines, "}"]) + "\n"


def automaton_svg(automaton: Automaton, names: list[str] | None = None) -> str:
    """Return an SVG with the states on a circle and arrows labelled `input / output`; a sentence if there are over 64."""
    n = automaton.n_states
    size = 2 * RADIUS + 160
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size:.0f} {size:.0f}" font-family="sans-serif" font-size="11">'
    )
    if n > MOST_DRAWN:
        return f'{head}<text x="40" y="40">{n} states: too many to draw; the JSON file has them all</text></svg>\n'
    centre = size / 2
    radius = RADIUS if n > 1 else 0.0
    places = [
        (centre + radius * cos(2 * pi * s / n - pi / 2), centre + radius * sin(2 * pi * s / n - pi / 2)) for s in range(n)
    ]
    marker = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#444"/></marker></defs>'
    )
    shapes = [_edge(places[a], places[b], label, centre) for (a, b), label in edges(automaton).items()]
    for s, (x, y) in enumerate(places):
        name = escape(names[s] if names else str(s))
        ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{STATE + 3}" fill="none" stroke="#444"/>' if s == 0 else ""
        shapes.append(f'{ring}<circle cx="{x:.1f}" cy="{y:.1f}" r="{STATE}" fill="#eef" stroke="#444"/>')
        shapes.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{name}</text>')
    return "\n".join([head, marker, *shapes, "</svg>"]) + "\n"


def _edge(a: tuple[float, float], b: tuple[float, float], label: str, centre: float) -> str:
    text = escape(label)
    if a == b:
        dx, dy = a[0] - centre, a[1] - centre
        length = hypot(dx, dy) or 1.0
        ux, uy = (dx / length, dy / length) if dx or dy else (0.0, -1.0)
        px, py = -uy, ux
        start = (a[0] + STATE * (0.8 * ux + 0.6 * px), a[1] + STATE * (0.8 * uy + 0.6 * py))
        end = (a[0] + STATE * (0.8 * ux - 0.6 * px), a[1] + STATE * (0.8 * uy - 0.6 * py))
        far = [(p[0] + 40 * ux, p[1] + 40 * uy) for p in (start, end)]
        path = f"M{_at(start)}C{_at(far[0])} {_at(far[1])} {_at(end)}"
        middle = (a[0] + 58 * ux, a[1] + 58 * uy)
    else:
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = hypot(dx, dy)
        bend = (a[0] + dx / 2 - 0.12 * dy, a[1] + dy / 2 + 0.12 * dx)
        end = (b[0] - dx / length * STATE, b[1] - dy / length * STATE)
        path = f"M{_at(a)}Q{_at(bend)} {_at(end)}"
        middle = (a[0] + 0.62 * dx - 0.08 * dy, a[1] + 0.62 * dy + 0.08 * dx)
    line = f'<path d="{path}" fill="none" stroke="#444" marker-end="url(#tip)"/>'
    return f'{line}<text x="{middle[0]:.1f}" y="{middle[1]:.1f}" text-anchor="middle" fill="#225">{text}</text>'


def _at(point: tuple[float, float]) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
