"""The fields of a report's page: the ones with most positive cells, and why others were refused."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from edge_malaria.files import encode_image, read_image
from edge_malaria.runtime.detect.light import shrink
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.totals import SlideTotals
from edge_malaria.runtime.words.language import Words, mark

_VIEWS = 4
_VIEW_SIDE_PX = 640
_LEGEND = (
    ("#d55e00", mark("looks parasitized")),
    ("#0072b2", mark("counted")),
    ("#969696", mark("left out")),
    ("#e6be00", mark("white cell")),
)


def views(words: Words, directory: Path, journal: Journal) -> str:
    """The annotated fields with the most positive cells, embedded."""
    best: list[tuple[int, int, str, str, int]] = []
    for order, line in enumerate(journal.fields()):
        if line.picture and (directory / line.picture).is_file():
            best.append((line.positive, -order, line.picture, line.field, line.counted))
            best = sorted(best, reverse=True)[:_VIEWS]
    if not best:
        return ""
    figures = []
    for positive, _, picture, name, counted in best:
        image = read_image(directory / picture)
        small = shrink(image, min(1.0, _VIEW_SIDE_PX / max(image.shape[:2])))
        jpeg = base64.b64encode(encode_image(small, ".jpg", 78)).decode()
        told = words.say(
            "%(counted)s counted, %(positive)s look parasitized",
            counted=words.number(counted),
            positive=words.number(positive),
        )
        alt = escape(words.say("The field with a box around each cell"), quote=True)
        figures.append(
            f'<figure><img alt="{alt}" src="data:image/jpeg;base64,{jpeg}">'
            f"<figcaption>{escape(name)}: {escape(told)} &middot; {escape(picture)}"
            "</figcaption></figure>"
        )
    legend = "".join(
        f'<span><i style="background:{colour}"></i>{escape(words.say(text))}</span> '
        for colour, text in _LEGEND
    )
    title = escape(words.say("Fields with the most positive cells"))
    return (
        f'<section class="card"><h2>{title}</h2><p class="lead legend">{legend}</p>'
        f'<div class="views">{"".join(figures)}</div></section>'
    )


def fields_lead(words: Words, totals: SlideTotals) -> str:
    """How many fields were looked at and counted."""
    text = words.say(
        "%(seen)s fields were looked at, %(counted)s were counted.",
        seen=words.number(totals.seen),
        counted=words.number(totals.accepted),
    )
    if totals.skipped:
        more = words.say(
            "%(frames)s frames showed places that were counted already.",
            frames=words.number(totals.skipped),
        )
        text = f"{text} {more}"
    return text


def refused(words: Words, counts: Mapping[str, int]) -> str:
    """The table of refused fields."""
    if not counts:
        none = words.say("No field was refused.")
        return f"<p>{escape(none)}</p>"
    rows = "".join(
        f'<tr><td class="n">{words.number(n)}</td><td>{escape(sayings.reason(words, reason))}</td>'
        f"<td><code>{escape(reason)}</code></td></tr>"
        for reason, n in counts.items()
    )
    heads = (words.say("Fields"), words.say("Why they were refused, and what to do"))
    return (
        f"<table><tr><th>{escape(heads[0])}</th><th>{escape(heads[1])}</th><th></th></tr>"
        f"{rows}</table>"
    )
