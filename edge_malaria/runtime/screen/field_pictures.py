"""The pictures that a counted field leaves: boxes drawn in, the field as it is, crops of cells."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from edge_malaria.files import encode_image, write_bytes
from edge_malaria.records import Cell, Field, Image, Prediction
from edge_malaria.runtime.report.pictures import annotated, cell_crop
from edge_malaria.runtime.screen.config import ReportSettings
from edge_malaria.runtime.slide.field_line import GalleryCell
from edge_malaria.runtime.slide.totals import SlideTotals

FIELDS_FOLDER = "fields"
# Cells of a field that enter the gallery behind those called parasitized.
_RUNNERS_UP_SHOWN = 6
# Of the field as it is: rings stay as they are from here on.
_VIEW_QUALITY = 92
# A larger file is encoded anew: a slide of hundreds of fields must fit on a small device.
_MOST_BYTES_A_PIXEL = 0.8

Counted = Sequence[tuple[int, Cell, Prediction]]


class FieldPictures:
    """Writes pictures into a report directory.

    Args:
        directory: of the report.
        settings: how many are kept.
        likely_from: the probability from which a cell is flagged.
    """

    def __init__(self, directory: Path, settings: ReportSettings, likely_from: float) -> None:
        self.directory, self.settings, self.likely_from = directory, settings, likely_from

    def with_boxes(
        self,
        number: int,
        pair: tuple[Image, Image],
        cells: Sequence[Cell],
        predictions: Sequence[Prediction | None],
        totals: SlideTotals,
    ) -> str:
        """Writes the annotated field where there is room; a quarter is kept for any field.

        Args:
            number: no other field's.
            pair: the field and its small copy.
            cells: of the field.
            predictions: one a cell; None where it was not classified.
            totals: of the slide so far.

        Returns:
            The file below the report directory; empty for none.
        """
        image, small = pair
        limit = self.settings.annotated_fields
        positive = any(
            c.counted and p is not None and p.positive
            for c, p in zip(cells, predictions, strict=True)
        )
        room = limit if positive else limit // 4
        if not (totals.pictures < room):
            return ""
        name = f"{FIELDS_FOLDER}/{number:05d}.jpg"
        factor = small.shape[1] / image.shape[1]
        write_bytes(self.directory / name, annotated(small, factor, cells, predictions))
        return name

    def as_it_is(self, number: int, field: Field) -> str:
        """Writes the field as it is: a person looks at its flagged cells in their surroundings.

        A JPEG that its source gave is written as it came: encoding it anew takes longer than
        decoding it did, and loses detail.
        """
        name = f"{FIELDS_FOLDER}/{number:05d}-view.jpg"
        data, pixels = field.jpeg, field.image.shape[0] * field.image.shape[1]
        if data is None or len(data) > _MOST_BYTES_A_PIXEL * pixels:
            data = encode_image(field.image, ".jpg", _VIEW_QUALITY)
        write_bytes(self.directory / name, data)
        return name

    def gallery(self, image: Image, counted: Counted, totals: SlideTotals) -> list[GalleryCell]:
        """The crops of all flagged cells, and of those that enter the gallery as it stands."""
        kept = self.settings.gallery_cells
        full = len(totals.gallery) >= kept
        least = totals.gallery[0].p_parasitized if full else -1.0
        # One field fills at most half of the gallery, so that a slide is not judged by one place,
        # and shows few of the cells that were not called: every picture costs time.
        best = sorted(counted, key=lambda c: -c[2].p_parasitized)
        flagged = sum(p.p_parasitized >= self.likely_from for _, _, p in counted)
        called = sum(p.positive for _, _, p in best[: max(1, kept // 2)])
        best = best[: max(flagged, min(called + _RUNNERS_UP_SHOWN, max(1, kept // 2)))]
        return [
            GalleryCell(
                index,
                round(p.p_parasitized, 5),
                p.positive,
                p.label,
                base64.b64encode(cell_crop(image, cell.box)).decode(),
            )
            for index, cell, p in best
            if p.p_parasitized > least or p.p_parasitized >= self.likely_from
        ]
