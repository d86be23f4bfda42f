"""The report as PDF, in the visitor's language, for a printer or a file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fpdf import FPDF

from edge_malaria import __version__
from edge_malaria.notice import RESEARCH_USE
from edge_malaria.records import SlideReport
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.serve import facts
from edge_malaria.runtime.serve.pdf_fonts import add_fonts, close_fonts
from edge_malaria.runtime.slide.review import CellKey, FlaggedCell, Status
from edge_malaria.runtime.store.slides import SlideEntry
from edge_malaria.runtime.words.language import Words

# Flagged cells on paper: the best ones; all of them stand in the table and on the page.
_MOST_CELLS = 24
_A_ROW, _CELL_MM = 6, 26.0


class _Paper(FPDF):
    """A4 with the notice at the foot of every page."""

    notice, family = "", ""

    def footer(self) -> None:
        """See FPDF."""
        self.set_y(-14)
        self.set_font(self.family, size=8)
        self.set_text_color(90)
        self.cell(0, 4, f"{self.notice}   {self.page_no()}/{{nb}}", align="C")


def pdf_report(
    words: Words,
    entry: SlideEntry,
    report: SlideReport,
    cells: Sequence[FlaggedCell],
    status: Mapping[CellKey, Status],
) -> bytes:
    """The PDF's bytes.

    Args:
        words: the language.
        entry: of the slide in the worklist.
        report: of the slide.
        cells: flagged, best first.
        status: of each.

    Raises:
        Refused: a letter of it has no shape in any font of this machine.
    """
    pdf = _Paper(format="A4")
    try:
        return _written(pdf, words, entry, report, cells, status)
    finally:
        close_fonts(pdf)


def _written(
    pdf: _Paper,
    words: Words,
    entry: SlideEntry,
    report: SlideReport,
    cells: Sequence[FlaggedCell],
    status: Mapping[CellKey, Status],
) -> bytes:
    title = sayings.verdict_title(words, report)
    rows = facts.table(words, entry, report)
    body = [sayings.why(words, report), sayings.basis(words, report), facts.status(words, entry)]
    steps = sayings.next_steps(words, report)
    heads = [words.say("What to do now"), words.say("Flagged cells")]
    named = {key: words.say(text) for key, text in sayings.STATUS.items()}
    notice = words.say(RESEARCH_USE)
    said = [
        title,
        notice,
        *body,
        *steps,
        *heads,
        *named.values(),
        *(t for row in rows for t in row),
    ]
    pdf.set_creation_date(_moment(entry))
    pdf.set_title(f"{entry.sample} {entry.id}")
    pdf.set_creator(f"edge-malaria {__version__}")
    pdf.set_lang(words.language)
    pdf.family = add_fonts(pdf, "".join([*said, "0123456789/.-"]))
    pdf.notice = notice
    pdf.set_auto_page_break(True, 18)
    pdf.add_page()
    _line(pdf, title, 20, bold=True)
    for text in body:
        _line(pdf, text, 11)
    pdf.ln(3)
    for name, value in rows:
        pdf.set_font(pdf.family, "B", 9.5)
        top = pdf.get_y()
        pdf.multi_cell(58, 5.5, name, new_x="RIGHT", new_y="TOP")
        pdf.set_font(pdf.family, "", 9.5)
        pdf.set_xy(pdf.l_margin + 60, top)
        pdf.multi_cell(0, 5.5, value, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(3)
    _line(pdf, heads[0], 13, bold=True)
    for place, step in enumerate(steps, 1):
        _line(pdf, f"{place}. {step}", 10.5)
    if cells:
        pdf.ln(3)
        _line(pdf, f"{heads[1]} ({min(len(cells), _MOST_CELLS)}/{len(cells)})", 13, bold=True)
        _cells(pdf, cells[:_MOST_CELLS], [named[status[cell.key]] for cell in cells[:_MOST_CELLS]])
    return bytes(pdf.output())


def _moment(entry: SlideEntry) -> datetime:
    """The PDF's date: that of the signature, so that the same report is the same file."""
    try:
        return datetime.fromisoformat(entry.signed_at or entry.created)
    except ValueError:
        return datetime.now(UTC)


def _line(pdf: _Paper, text: str, size: float, *, bold: bool = False) -> None:
    pdf.set_font(pdf.family, "B" if bold else "", size)
    pdf.set_text_color(0)
    pdf.multi_cell(0, size * 0.52, text, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(1)


def _cells(pdf: _Paper, cells: Sequence[FlaggedCell], under: Sequence[str]) -> None:
    """The crops in rows, what readers said under each."""
    gap = (pdf.epw - _A_ROW * _CELL_MM) / (_A_ROW - 1)
    for start in range(0, len(cells), _A_ROW):
        if pdf.will_page_break(_CELL_MM + 6):
            pdf.add_page()
        top = pdf.get_y()
        for place, cell in enumerate(cells[start : start + _A_ROW]):
            left = pdf.l_margin + place * (_CELL_MM + gap)
            if cell.jpeg:
                picture = io.BytesIO(base64.b64decode(cell.jpeg))
                pdf.image(picture, left, top, _CELL_MM, _CELL_MM)
            pdf.set_xy(left, top + _CELL_MM)
            pdf.set_font(pdf.family, "", 7.5)
            pdf.cell(_CELL_MM, 4, under[start + place], align="C")
        pdf.set_xy(pdf.l_margin, top + _CELL_MM + 6)
