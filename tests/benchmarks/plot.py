"""A small log-log line chart as SVG, written by hand: no library draws with less."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 800, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 275, 56, 50
COLOURS = ("#c2410c", "#64748b", "#2563eb", "#7c3aed", "#0f766e", "#a16207")

Points = Sequence[tuple[float, float]]


def chart(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """One line per series over powers of ten on both axes; values must be positive."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    low_x, high_x = min(xs), max(xs)
    low_y, high_y = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * _share(x, low_x, high_x),
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(y, low_y, high_y),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" fill="#0f172a">{escape(title)}</text>',
    ]
    parts += [_rule(place, low_x, high_x, value) for value in _powers(low_y, high_y)]
    for value in sorted(set(xs)):
        x, y = place(value, low_y)
        parts.append(_text(x, y + 18, f"{value:,.0f}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across, "middle"))
    parts.append(_text(8, TOP - 12, up, "start"))
    ends = sorted(((place(*points[-1])[1], name) for name, points in lines.items()), key=lambda each: each[0])
    label_at = _spread([y for y, _ in ends])
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        dots = [place(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in dots]
        label_y = label_at[[each for _, each in ends].index(name)]
        last = f"{points[-1][1]:.2g} s" if points[-1][1] < 10 else f"{points[-1][1]:.0f} s"
        label = f"{name}: {last} at {points[-1][0]:,.0f}"
        parts.append(_text(WIDTH - RIGHT + 12, label_y + 4, label, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low) if high > low else 0.5


def _powers(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def _rule(
    place: Callable[[float, float], tuple[float, float]], low_x: float, high_x: float, value: float
) -> str:
    (left, y), (right, _) = place(low_x, value), place(high_x, value)
    line = f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>'
    return line + _text(left - 8, y + 4, f"{value:g}", "end")


def _spread(heights: Sequence[float], gap: float = 16) -> list[float]:
    """Labels from top to bottom, at least a line apart."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    return placed


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#334155") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
