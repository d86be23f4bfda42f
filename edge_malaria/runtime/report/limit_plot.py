"""The limit of detection against the number of cells, as an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from edge_malaria.runtime.words.language import Words

Axis = Callable[[float], float]
LimitRow = tuple[int, float | None, float | None]
# Room for the words at the size that a telephone needs (``report.html``).
_LEFT, _RIGHT, _TOP, _BOTTOM = 92.0, 40.0, 30.0, 66.0
_WIDTH, _HEIGHT = 640.0, 340.0
_LOWEST, _HIGHEST = -4.0, 0.0
_NEAR = 90.0


def limit_plot(
    words: Words, rows: Sequence[LimitRow], cells: int = 0, wanted: float | None = None
) -> str:
    """Two lines, without and with a reader, on logarithmic axes.

    Args:
        words: the language.
        rows: (cells, limit without, with a reader), rising; None where nothing is ever called.
        cells: counted on this slide; a mark on the axis. 0 for none.
        wanted: the limit that counts as good enough; a dashed line. None for none.
    """
    first, last = math.log10(rows[0][0]), math.log10(rows[-1][0])

    def x(n: float) -> float:
        share = (math.log10(max(n, 1)) - first) / (last - first)
        return _LEFT + min(max(share, 0.0), 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(p: float) -> float:
        share = (math.log10(max(p, 1e-9)) - _LOWEST) / (_HIGHEST - _LOWEST)
        return _HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM)

    name = escape(words.say("What this slide could have shown"), quote=True)
    parts = [f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{name}">']
    for power in range(int(_LOWEST), int(_HIGHEST) + 1):
        at = y(10.0**power)
        parts.append(
            f'<line x1="{_LEFT:.0f}" x2="{_WIDTH - _RIGHT:.0f}" y1="{at:.0f}" y2="{at:.0f}" '
            'stroke="currentColor" stroke-opacity=".15"/>'
            + _text(_LEFT - 8, at + 5, "end", words.share(10.0**power))
        )
    for n, _, _ in rows:
        parts.append(_text(x(n), _HEIGHT - _BOTTOM + 26, "middle", _short(words, n)))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 6, "middle", words.say("Red cells counted")))
    if wanted is not None:
        parts.append(
            f'<line x1="{_LEFT:.0f}" x2="{_WIDTH - _RIGHT:.0f}" y1="{y(wanted):.1f}" '
            f'y2="{y(wanted):.1f}" stroke="currentColor" stroke-dasharray="5 4"/>'
        )
    parts += [_line(rows, 1, "#c8501e", x, y), _line(rows, 2, "#0072b2", x, y)]
    if cells:
        at = x(cells)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP:.0f}" y2="{_HEIGHT - _BOTTOM:.0f}" '
            'stroke="currentColor" stroke-opacity=".6" stroke-width="2"/>'
            + _mark(at, words.say("this slide"))
        )
    return "".join([*parts, "</svg>"])


def _short(words: Words, cells: int) -> str:
    # Four signs keep clear of each other on a telephone.
    return f"{words.number(cells // 1000)}k" if cells >= 10_000 else words.number(cells)


def _mark(at: float, words: str) -> str:
    """The words above a mark, clear of the axis's numbers and of the right edge."""
    anchor = "start" if at < _LEFT + _NEAR else "end" if at > _WIDTH - _RIGHT - _NEAR else "middle"
    return _text(at, _TOP - 8, anchor, words)


def _text(x: float, y: float, anchor: str, words: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor">{escape(words)}</text>'


def _line(rows: Sequence[LimitRow], column: int, colour: str, x: Axis, y: Axis) -> str:
    known = [(row[0], row[column]) for row in rows]
    points = [(x(cells), y(limit)) for cells, limit in known if limit is not None]
    if not points:
        return ""
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dots = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="3"/>{dots}'
