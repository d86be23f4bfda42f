"""A report as one self-contained HTML page, with every flipped cell as a picture.

Cells of a data set are real pictures: write the page where they may lie, not into a repository.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from edge_malaria.files import encode_image
from edge_malaria.parity.findings import Flip, Pair
from edge_malaria.parity.render import (
    FINDER_COLUMNS,
    finder_rows,
    headline,
    settings_line,
    shown_columns,
)
from edge_malaria.parity.report import ParityReport
from edge_malaria.records import RESEARCH_USE, Image

_ENLARGED_PX = 144

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .6rem; text-align: left; }
.scroll { overflow-x: auto; }
.failed { color: #b3261e; font-weight: 600; }
.cells { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 160px; }
img { width: 144px; height: 144px; image-rendering: pixelated; background: #000; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
"""


def _picture(image: Image) -> str:
    scale = max(1, _ENLARGED_PX // max(image.shape[:2]))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    large = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    data = encode_image(np.asarray(large, np.uint8), ".png")
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _figure(flip: Flip, pair: Pair) -> str:
    truth = {1: "labelled parasitized", 0: "labelled uninfected", None: "no label"}[flip.truth]
    return (
        f'<figure><img src="{_picture(flip.image)}" alt="{escape(flip.name)}">'
        f"<figcaption>{escape(flip.name)}<br>{truth}<br>"
        f"{escape(pair.reference)} {flip.p_reference:.4f}<br>"
        f"{escape(pair.candidate)} {flip.p_candidate:.4f}</figcaption></figure>"
    )


def _flips(report: ParityReport) -> list[str]:
    parts = []
    for pair in report.pairs:
        if not pair.flipped:
            continue
        title = f"{pair.candidate} against {pair.reference}: {pair.flips} of {pair.n} cells"
        parts.append(f"<h2>Flipped: {escape(title)} ({escape(pair.evidence)})</h2>")
        parts.append('<div class="cells">')
        parts += [_figure(flip, pair) for flip in pair.flipped]
        parts.append("</div>")
    return parts


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def as_html(report: ParityReport) -> str:
    """The whole page; no script, no request to anywhere."""
    failures = report.all_failures()
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(headline(report))}</title><style>{_STYLE}</style></head><body>",
        f"<h1{'' if report.passed else ' class=failed'}>{escape(headline(report))}</h1>",
        f"<p>{escape(settings_line(report))}</p>",
        _table(*shown_columns(report)),
    ]
    if report.finder:
        parts.append("<h2>Cell finder, on drawn fields</h2>")
        parts.append(_table(FINDER_COLUMNS, finder_rows(report)))
    if failures:
        parts.append(f"<h2>{len(failures)} failures</h2><ul>")
        parts += [f'<li class="failed">{escape(failure.message)}</li>' for failure in failures]
        parts.append("</ul>")
    if report.not_run:
        parts.append("<h2>Not run</h2><ul>")
        parts += [f"<li>{escape(line)}</li>" for line in report.not_run]
        parts.append("</ul>")
    parts += _flips(report)
    parts.append(f"<p>{escape(RESEARCH_USE)}</p></body></html>\n")
    return "\n".join(parts)
