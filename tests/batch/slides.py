"""Small drawn slides and their manifest."""

from __future__ import annotations

import csv
from pathlib import Path

from edge_malaria.batch.manifest import Slide

SMALL = "sim:parasitemia=0.05,fields={fields},seed={seed},width=480,height=360,cell_diameter_px=40"


def drawn(count: int, fields: int = 2) -> tuple[Slide, ...]:
    return tuple(Slide(f"S{k}", SMALL.format(fields=fields, seed=k)) for k in range(count))


def manifest_of(slides: tuple[Slide, ...], path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide", "source", "site", "reference"])
        writer.writerows([s.name, s.source, s.site, s.reference] for s in slides)
    return path
