"""A page for each field with flagged cells: the whole field in full resolution, cells marked.

One tap on a cell of the report leads here; the tapped cell's frame is drawn thick. Nothing but
HTML: the pages work from a memory stick, without a server and without scripts.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

from edge_malaria.files import write_text
from edge_malaria.runtime.report.sayings import STATUS
from edge_malaria.runtime.slide.review import FlaggedCell, Review
from edge_malaria.runtime.words.language import Words

_PAGE = Template("""<!doctype html>
<html lang="$language"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title><style>
body{margin:0;background:#12161d;color:#e8ebf1;font:16px/1.5 system-ui,"Noto Sans",sans-serif}
p{margin:0;padding:10px 14px}a{color:#5eb3e4}
.field{position:relative;width:$width;max-width:none}.field img{display:block;width:100%}
.cell{position:absolute;border:2px solid #ee7a45;border-radius:4px}
.cell:target{border:5px solid #ffd166;box-shadow:0 0 0 4px rgba(0,0,0,.55)}
.overturned{border-color:#9aa5b5}.confirmed{border-color:#ff4d3d}
</style></head><body>
<p><a href="../report.html#cells">&larr; $back</a> &middot; $title &middot; $lead</p>
<div class="field"><img alt="$alt" src="$image">$cells</div>
</body></html>
""")


def view_page(cell: FlaggedCell) -> str:
    """The page of a cell's field, below the report directory."""
    return cell.view.removesuffix(".jpg") + ".html"


def view_link(cell: FlaggedCell) -> str:
    """Where a tap on the cell leads; empty where the field was not kept."""
    return f"{view_page(cell)}#c{cell.index}" if cell.view else ""


def write_views(words: Words, directory: Path, review: Review) -> None:
    """Writes a page beside each kept field with flagged cells, in the report's language.

    Raises:
        StorageError: disk full or not writable.
    """
    fields: dict[str, list[FlaggedCell]] = {}
    for cell in review.cells:
        if cell.view:
            fields.setdefault(cell.view, []).append(cell)
    for cells in fields.values():
        write_text(directory / view_page(cells[0]), _page(words, cells, review))


def _page(words: Words, cells: list[FlaggedCell], review: Review) -> str:
    first = cells[0]
    flagged = words.say("flagged: %(n)s", n=words.number(len(cells)))
    frame = words.say("The cell that you came from has the thick yellow frame.")
    return _PAGE.substitute(
        language=words.language,
        title=escape(first.field),
        width=f"{first.size_px[0]}px",
        back=escape(words.say("Back to the report")),
        lead=escape(f"{flagged}. {frame}"),
        alt=escape(words.say("The field"), quote=True),
        image=escape(Path(first.view).name),
        cells="".join(_frames(words, cells, review)),
    )


def _frames(words: Words, cells: Iterable[FlaggedCell], review: Review) -> Iterable[str]:
    for cell in cells:
        x0, y0, x1, y1 = cell.box
        width, height = cell.size_px
        # Room around the cell: a frame on its edge would hide a parasite there.
        edge = 0.15 * max(x1 - x0, y1 - y0)
        status = review.status(cell.key)
        title = escape(words.say(STATUS[status]), quote=True)
        yield (
            f'<span class="cell {status}" id="c{cell.index}" title="{title}" '
            f'style="left:{100 * (x0 - edge) / width:.3f}%;top:{100 * (y0 - edge) / height:.3f}%;'
            f"width:{100 * (x1 - x0 + 2 * edge) / width:.3f}%;"
            f'height:{100 * (y1 - y0 + 2 * edge) / height:.3f}%"></span>'
        )
