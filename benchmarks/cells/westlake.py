"""westlake: one slide of another laboratory, unmasked crops, for reporting only."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np

from edge_malaria.evaluation import prepared
from edge_malaria.files import decode_image
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.isolate import isolate_central_cell
from edge_malaria.prepare.stain import SlideColour, cell_colour, evenly
from edge_malaria.records import Image


def westlake_rows(folder: Path) -> list[dict[str, str]]:
    """The crops' records: file, class, field_id."""
    with (folder / "cells.csv").open(newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def westlake_inputs(folder: Path, target: Target, mask: str = "auto") -> Image:
    """Every crop as the network sees it, uint8 [N, S, S, 3]; colours field after field."""
    rows = westlake_rows(folder)
    fields: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        fields.setdefault(row["field_id"], []).append(index)
    how = preparation(target)
    stain, side = how.stain, how.size_px
    inputs = np.zeros((len(rows), side, side, 3), np.uint8)
    slide = SlideColour()
    with zipfile.ZipFile(folder / "cells.zip") as archive:
        for own in fields.values():
            crops = [decode_image(archive.read(rows[index]["file"])) for index in own]
            table = None
            if stain is not None:
                some = [isolate_central_cell(crops[place]) for place in evenly(len(crops))]
                colour = slide.take(cell_colour(*cell) for cell in some)
                table = None if colour is None else stain.table(colour)
            for index, crop in zip(own, crops, strict=True):
                inputs[index] = prepared(crop, target, mask, table)
    return inputs
