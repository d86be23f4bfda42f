"""The parasitemia with its interval, as an inline SVG on a logarithmic axis."""

from __future__ import annotations

import math
from html import escape

from edge_malaria.records import SlideReport
from edge_malaria.runtime.report.numbers import two_figures
from edge_malaria.runtime.words.language import Words

# Background of the verdict: dark enough for white text, told apart without red and green.
TONES = {
    "parasites-detected": ("#9a2f0c", "#c8501e"),
    "not-detected": ("#0b4f78", "#1478ad"),
    "indeterminate": ("#54470b", "#84701a"),
}
# Room for the words at the size that a telephone needs; the axis goes from 0.001 % to 100 %.
_LEFT, _WIDTH, _LOWEST_POWER = 30, 420, -5


def interval_card(words: Words, report: SlideReport) -> str:
    """A card with the picture and what it shows; "" where no number is known."""
    if report.ci95 is None:
        return ""
    lead = words.say(
        "Share of red cells that hold parasites: the dot is the best guess, the bar holds it on "
        "95 of 100 slides, the dashed line is the limit of detection."
    )
    rate = words.say(
        "%(share)s is %(number)s parasites per microlitre at %(cells)s red cells.",
        share=words.share(0.001),
        number=words.number(two_figures(0.001 * report.rbc_per_ul)),
        cells=words.number(round(report.rbc_per_ul)),
    )
    title = words.say("How many parasites, and how sure")
    return (
        f'<section class="card"><h2>{escape(title)}</h2>'
        f'<p class="lead">{escape(lead)} {escape(rate)}</p>{interval_plot(words, report)}</section>'
    )


def interval_plot(words: Words, report: SlideReport) -> str:
    """The picture alone; "" where no number is known."""
    if report.ci95 is None:
        return ""
    low, high = report.ci95
    tone = TONES[report.verdict][1]
    name = escape(words.say("How many parasites, and how sure"), quote=True)
    bar = max(3.0, _x(high) - _x(low))
    return "".join(
        [
            f'<svg class="scale" viewBox="0 0 480 112" role="img" aria-label="{name}">',
            *(_tick(words, power) for power in range(_LOWEST_POWER, 1)),
            f'<rect x="{_x(low):.1f}" y="44" height="20" rx="10" width="{bar:.1f}" '
            f'fill="{tone}" fill-opacity=".45"/>'
            f'<circle cx="{_x(report.parasitemia or 0.0):.1f}" cy="54" r="7" fill="{tone}"/>',
            _limit(words, report),
            "</svg>",
        ]
    )


def _x(share: float) -> float:
    value = max(math.log10(share), _LOWEST_POWER) if share > 0 else _LOWEST_POWER
    return _LEFT + (value - _LOWEST_POWER) / -_LOWEST_POWER * _WIDTH


def _tick(words: Words, power: int) -> str:
    at, label = _x(10.0**power), "0" if power == _LOWEST_POWER else words.share(10.0**power)
    return (
        f'<line x1="{at:.0f}" y1="26" x2="{at:.0f}" y2="82" stroke="currentColor" '
        f'stroke-opacity=".15"/><text x="{at:.0f}" y="104" text-anchor="middle" '
        f'fill="currentColor" fill-opacity=".8">{label}</text>'
    )


def _limit(words: Words, report: SlideReport) -> str:
    numbers = report.details["statistics"]
    by_reader = report.basis == "reader"
    limit = numbers["limit_of_detection_reviewed" if by_reader else "limit_of_detection"]
    if not limit:
        return ""
    at, text = _x(limit), words.say("Limit of detection")
    # The words keep clear of both edges.
    room = 4.2 * len(text)
    words_at = min(max(at, room), 2 * _LEFT + _WIDTH - room)
    return (
        f'<line x1="{at:.1f}" y1="22" x2="{at:.1f}" y2="82" stroke="currentColor" '
        f'stroke-width="2" stroke-dasharray="5 4"/><text x="{words_at:.1f}" y="15" '
        f'text-anchor="middle" fill="currentColor">{escape(text)}</text>'
    )
