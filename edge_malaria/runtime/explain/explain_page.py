"""One HTML page with pictures inside it: opens anywhere, loads nothing."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

from edge_malaria.files import encode_image
from edge_malaria.records import RESEARCH_USE, Image

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%;image-rendering:pixelated}figure{margin:1rem 0}"
)


@dataclass(frozen=True, eq=False)
class Figure:
    """A picture (uint8 [H, W, 3] RGB) and what it shows."""

    image: Image
    caption: str


def page(title: str, figures: Sequence[Figure]) -> str:
    """The page's HTML; titles and captions are escaped."""
    parts = []
    for figure in figures:
        data = base64.b64encode(encode_image(figure.image)).decode("ascii")
        caption = html.escape(figure.caption)
        parts.append(
            f'<figure><figcaption>{caption}</figcaption><img alt="{caption}" '
            f'src="data:image/png;base64,{data}"></figure>'
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{html.escape(title)}</h1><p>{html.escape(RESEARCH_USE)}</p>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
