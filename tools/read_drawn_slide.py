"""Reads a drawn slide's flagged cells by the truth that it was drawn with: the demo's reader.

    python -m tools.read_drawn_slide DIR -o decisions.csv
    edge-malaria review DIR --import decisions.csv

It is no person: its name says so in every report that it enters.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from edge_malaria.errors import UsageError
from edge_malaria.files import write_text
from edge_malaria.records import Box
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.review.table import COLUMNS
from edge_malaria.runtime.slide.review import FlaggedCell
from edge_malaria.runtime.sources.simulated import SimulatedSource

READER = "Scripted reader who knows the drawing"
LEAST_OVERLAP = 0.3


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return width * height / (areas[0] + areas[1] - width * height)


def parasitized_boxes(spec: str) -> dict[str, list[Box]]:
    """Boxes of the parasitized red cells of each field of a drawn slide.

    Raises:
        UsageError: not a drawn slide.
    """
    if not spec.startswith("sim:"):
        raise UsageError(
            f"expected a slide of sim:, got {spec}: only of a drawing the truth is known."
        )
    stage = SimulatedSource(spec).stage
    return {f"sim#{shot.index}": [t.box for t in shot.truth.parasitized] for shot in stage}


def decisions(cells: list[FlaggedCell], boxes: dict[str, list[Box]]) -> str:
    """The table that ``review --import`` takes."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for cell in cells:
        sick = any(overlap(cell.box, box) >= LEAST_OVERLAP for box in boxes[cell.field])
        word = "parasite" if sick else "no-parasite"
        row = [cell.field, cell.index, *cell.box, f"{cell.p_parasitized:.5f}", word, READER, ""]
        table.writerow(row)
    return out.getvalue()


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="report directory of a drawn slide")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    session = ReviewSession(options.directory)
    try:
        boxes = parasitized_boxes(" ".join(session.journal.header.source))
        write_text(options.output, decisions(list(session.cells), boxes))
    finally:
        session.close()


if __name__ == "__main__":
    main()
