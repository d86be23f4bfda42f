"""Pages on which a person looks at flagged cells, and at whole fields with their boxes."""

from __future__ import annotations

import base64
from typing import cast

import cv2
import numpy as np
from starlette.responses import Response

from edge_malaria.files import encode_image, read_image
from edge_malaria.prepare.preprocess import cut
from edge_malaria.records import Box, Image
from edge_malaria.runtime.detect.light import shrink
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.serve import facts
from edge_malaria.runtime.serve.reading import FieldEntry, OpenSlide
from edge_malaria.runtime.serve.refused import NotHere, Refused
from edge_malaria.runtime.serve.slides import keep_reader
from edge_malaria.runtime.serve.visit import Visit, whole_number
from edge_malaria.runtime.slide.lines import ReviewDecision
from edge_malaria.runtime.slide.review import FlaggedCell, reader_name

# The cell takes a third of the picture: a ring is judged with what lies around it.
_SURROUNDINGS = 3.0
_CELL_SIDE_PX = 480
_FIELDS_A_PAGE = 50
_COLOURS = {"flagged": "#d55e00", "counted": "#0072b2", "out": "#969696", "white": "#e6be00"}


def look(visit: Visit) -> Response:
    """One flagged cell; ``cell`` in the address, else the first without the reader's decision."""
    with visit.clinic.desk.reading(visit.slide) as opened:
        cells = opened.session.cells
        reader = visit.reader
        own = [_own(opened, cell, reader) for cell in cells]
        if not cells:
            return visit.to(f"/slides/{visit.slide}")
        if not reader:
            return visit.page("who.html", slide=visit.slide)
        number = visit.number("cell", _first_open(own))
        if number >= len(cells):
            return visit.to(f"/slides/{visit.slide}")
        cell, entry = cells[number], visit.clinic.desk.get(visit.slide)
        places = {entry.name: entry.number for entry in opened.fields}
        return visit.page(
            "review.html",
            entry=entry,
            status=facts.status(visit.words, entry),
            number=number,
            cell=cell,
            corners=_frame(cell),
            field=places[cell.field],
            own=own,
            decided=sum(bool(word) for word in own),
            decisions=sayings.DECISIONS,
        )


def _own(opened: OpenSlide, cell: FlaggedCell, reader: str) -> str:
    """The reader's own decision; those of others stay hidden."""
    line = opened.session.review.decisions(cell.key).get(reader)
    return line.decision if line else ""


def _first_open(own: list[str]) -> int:
    return next((n for n, word in enumerate(own) if not word), len(own))


def who(visit: Visit) -> Response:
    """Keeps who reads in this browser, where nobody signs in."""
    if visit.clinic.with_users:
        raise Refused("Whoever signed in reads.")
    try:
        name = reader_name(visit.form.get("reader", ""))
    except ValueError as error:
        raise Refused("Say who reads: a name of up to 80 characters.") from error
    response = visit.to(f"/slides/{visit.slide}/review")
    keep_reader(visit, response, name)
    return response


def decide(visit: Visit) -> Response:
    """Takes one decision; leads on to the next cell without one."""
    if not visit.reader:
        raise Refused("Say who reads: a name of up to 80 characters.")
    form = visit.form
    desk = visit.clinic.desk
    with desk.reading(visit.slide) as opened:
        cells = opened.session.cells
        found = whole_number(form.get("cell", ""))
        number = -1 if found is None else found
        # The page names the cell by what it is, too: a list that changed must not shift decisions.
        if not 0 <= number < len(cells) or form.get("key") != cell_key(cells[number]):
            raise Refused("This cell is no longer where it was. Load the page again.")
        word = cast("ReviewDecision", form.get("decision", ""))
        if word not in (*sayings.DECISIONS, "withdrawn"):
            raise Refused("No such decision.")
        cell = cells[number]
        desk.decide(visit.slide, cell.field, cell.index, word, visit.reader)
        own = [_own(opened, one, visit.reader) for one in cells]
    if word == "withdrawn":
        return visit.to(f"/slides/{visit.slide}/review?cell={number}")
    following = [*range(number + 1, len(own)), *range(number)]
    onward = next((n for n in following if not own[n]), len(own))
    return visit.to(f"/slides/{visit.slide}/review?cell={onward}")


def cell_key(cell: FlaggedCell) -> str:
    """What names a cell in a form."""
    return f"{cell.index}@{cell.field}"


def cell_picture(visit: Visit) -> Response:
    """One flagged cell with what lies around it, as JPEG."""
    with visit.clinic.desk.reading(visit.slide) as opened:
        cells = opened.session.cells
        number = visit.place
        if number >= len(cells):
            raise NotHere("There is no such cell.")
        cell, directory = cells[number], opened.session.directory
    if not cell.view:
        data = base64.b64decode(cell.jpeg)
    else:
        data = encode_image(_surrounded(read_image(directory / cell.view), cell.box), ".jpg", 88)
    return _picture(data)


def _square(box: Box, size_px: tuple[int, int]) -> tuple[int, int, int]:
    """(left, top, side) px of the square around a cell that lies inside the field."""
    width, height = size_px
    x0, y0, x1, y1 = box
    side = min(int(_SURROUNDINGS * max(x1 - x0, y1 - y0)), width, height)
    left = min(max(0, (x0 + x1 - side) // 2), width - side)
    top = min(max(0, (y0 + y1 - side) // 2), height - side)
    return left, top, side


def _frame(cell: FlaggedCell) -> str:
    """The path of the corners around the cell in its picture, in per cent; "" where it fills it."""
    if not cell.view:
        return ""
    left, top, side = _square(cell.box, cell.size_px)
    x0, y0, x1, y1 = (
        100 * (value - start) / side
        for value, start in zip(cell.box, (left, top, left, top), strict=True)
    )
    # Room around the cell: a frame on its edge would hide a parasite there.
    x0, y0, x1, y1, arm = x0 - 3, y0 - 3, x1 + 3, y1 + 3, 6.0
    corners = ((x0, y0, 1, 1), (x1, y0, -1, 1), (x1, y1, -1, -1), (x0, y1, 1, -1))
    return " ".join(
        f"M{x:.1f} {y + dy * arm:.1f}V{y:.1f}H{x + dx * arm:.1f}" for x, y, dx, dy in corners
    )


def _surrounded(image: Image, box: Box) -> Image:
    """A square around the cell, the cell a third of it, enlarged where it is small."""
    left, top, side = _square(box, (image.shape[1], image.shape[0]))
    square = cut(image, (left, top, left + side, top + side))
    factor = _CELL_SIDE_PX / side
    if factor <= 1:
        return shrink(square, factor)
    size = (_CELL_SIDE_PX, _CELL_SIDE_PX)
    return np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _picture(data: bytes) -> Response:
    # A slide's pictures never change: the browser may keep them for as long as it is open.
    kept = {"Cache-Control": "private, max-age=3600"}
    return Response(data, media_type="image/jpeg", headers=kept)


def fields(visit: Visit) -> Response:
    """The list of fields, a page of them."""
    with visit.clinic.desk.reading(visit.slide) as opened:
        entries = opened.fields
    first = visit.number("from")
    return visit.page(
        "fields.html",
        entry=visit.clinic.desk.get(visit.slide),
        fields=entries[first : first + _FIELDS_A_PAGE],
        first=first,
        step=_FIELDS_A_PAGE,
        total=len(entries),
        reason=sayings.reason,
    )


def _entry(opened: OpenSlide, visit: Visit) -> FieldEntry:
    number = visit.place
    if number >= len(opened.fields):
        raise NotHere("There is no such field.")
    return opened.fields[number]


def field(visit: Visit) -> Response:
    """One field with a box around each thing found."""
    with visit.clinic.desk.reading(visit.slide) as opened:
        entry = _entry(opened, visit)
        line = opened.field(entry.number)
        flagged = {cell.key for cell in opened.session.cells}
        total = len(opened.fields)
    boxes = []
    for index, cell in enumerate(line.cells if line else ()):
        x0, y0, x1, y1 = cell.box
        kind = "white" if cell.kind == "white-cell" else "counted" if cell.counted else "out"
        kind = "flagged" if (entry.name, index) in flagged else kind
        boxes.append((x0, y0, x1 - x0, y1 - y0, _COLOURS[kind], kind == "flagged"))
    return visit.page(
        "field.html",
        entry=visit.clinic.desk.get(visit.slide),
        field=entry,
        size=line.size_px if line and line.size_px else (1, 1),
        boxes=sorted(boxes, key=lambda box: box[5]) if entry.view else [],
        colours=_COLOURS,
        total=total,
        reason=sayings.reason,
    )


def field_picture(visit: Visit) -> Response:
    """The field as it is, or the small copy with boxes where only that was kept."""
    with visit.clinic.desk.reading(visit.slide) as opened:
        entry = _entry(opened, visit)
        name, directory = entry.view or entry.picture, opened.session.directory
    if not name:
        raise NotHere("No picture of this field was kept.")
    try:
        return _picture((directory / name).read_bytes())
    except OSError as error:
        raise NotHere("No picture of this field was kept.") from error
