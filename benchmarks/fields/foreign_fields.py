"""Fields of foreign laboratories and cameras -> docs/evidence/foreign_fields.json.

    python -m benchmarks.fields.foreign_fields --data DATA [--part report] [--pictures runs/fields]

phone_eyepiece is looked at as one slide, cheap_rig slide by slide (every third slide reports), iml
colourless, as single channels and with a turned hue: how many fields are counted, why the others
are not, and how far a counted field's median box is off its slide's. Of pbc, how often the middle
cell counts as red; of raabin, how often a white cell does; of chula_more, how many points lie in
exactly one cell.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.evidence_file import write_evidence
from benchmarks.fields.cell_finding import drawn_over
from benchmarks.fields.cell_truth import (
    count_boxed,
    count_points,
    files_of,
    rates,
    read_annotations,
)
from benchmarks.fields.whole_slides import SlideScreen, judged_field
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.data.laboratories import Part, field_files, slide_of
from edge_malaria.files import read_image, write_image
from edge_malaria.records import Cell, Image
from edge_malaria.runtime.screen.field_judge import FieldJudge

PAGE_PX = 640
COLOURLESS = ("grey", "red channel", "green channel", "blue channel", "hue 120", "hue 180")
HUES = ("hue 60", "hue 240", "hue 300")


def slides_of_rig(fields: Path, part: Part) -> dict[str, list[Path]]:
    """cheap_rig's files of a part by slide."""
    slides: dict[str, list[Path]] = {}
    for file in field_files(fields, "cheap_rig", part):
        slides.setdefault(slide_of("cheap_rig", file.name), []).append(file)
    return slides


def shown(page: Path | None, file: Path, seen: tuple[Image, list[Cell], str]) -> None:
    """Writes a field with its cells into a page's folder."""
    if page is None:
        return
    image, cells, reason = seen
    picture = drawn_over(image, cells, [])
    factor = PAGE_PX / picture.shape[1]
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    write_image(page / f"{reason or 'counted'}-{file.stem}.png", np.asarray(small, np.uint8))


def slides(
    screen: SlideScreen, groups: dict[str, list[Path]], pictures: Path | None
) -> dict[str, Any]:
    """What is counted of several slides together."""
    refused: Counter[str] = Counter()
    widest, cells, called = 1.0, 0, 0
    for files in groups.values():
        seen: list[tuple[Image, list[Cell], str]] = []
        slide = screen.screened((read_image(file) for file in files), seen)
        for file, one in zip(files, seen, strict=True):
            shown(pictures, file, one)
        refused.update(slide.refused)
        widest = max(widest, slide.widest_size_ratio())
        cells, called = cells + slide.cells, called + slide.positive
    fields = sum(refused.values())
    return {
        "slides": len(groups),
        "fields": fields,
        "counted_share": round(refused[""] / max(fields, 1), 4),
        "refused": {name: n for name, n in sorted(refused.items()) if name},
        "widest_size_ratio": round(widest, 3),
        "cells": cells,
        "called_screening": called,
    }


def turned(image: Image, degrees: float) -> Image:
    """The picture with its hue turned."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0] + degrees) % 360
    return np.asarray(np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255), np.uint8)


def recoloured(image: Image, name: str) -> Image:
    """A copy without colour, of one channel, or with its hue turned."""
    if name.startswith("hue"):
        return turned(image, float(name.split()[1]))
    if name == "grey":
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    channel = ("red channel", "green channel", "blue channel").index(name)
    return np.repeat(image[:, :, channel : channel + 1], 3, axis=2)


def colourless(screen: SlideScreen, fields: Path) -> dict[str, Any]:
    """Sixteen iml fields in colours that no laboratory has: refused, and what is said of them."""
    files = files_of(fields / "iml", "report")[:48:3]
    figures = {}
    for name in (*COLOURLESS, *HUES):
        slide = screen.screened(recoloured(read_image(file), name) for file in files)
        figures[name] = {**slide.as_json(), "verdict": screen.verdict(slide)}
    return figures


def own_cells(screen: SlideScreen, image: Image) -> list[Cell]:
    """The cells of a picture that is a slide by itself, refused or not."""
    return judged_field(FieldJudge(screen.finder, screen.config.quality), image, refused_too=True)[
        1
    ]


def middle_cells(screen: SlideScreen, fields: Path, part: Part, every: int) -> dict[str, Any]:
    """pbc: how often a counted red cell holds the picture's middle, by kind."""
    pictures, red = Counter[str](), Counter[str]()
    for file in files_of(fields / "pbc", part)[::every]:
        image = read_image(file)
        y, x = image.shape[0] // 2, image.shape[1] // 2
        kind = file.stem.split("_")[0]
        pictures[kind] += 1
        red[kind] += any(
            cell.counted and cell.box[0] <= x < cell.box[2] and cell.box[1] <= y < cell.box[3]
            and bool(cell.mask[y - cell.box[1], x - cell.box[0]])
            for cell in own_cells(screen, image)
        )  # fmt: skip
    return {
        "pictures": sum(pictures.values()),
        "middle_counted_as_red": round(sum(red.values()) / max(sum(pictures.values()), 1), 4),
        "by_kind": {kind: [red[kind], n] for kind, n in sorted(pictures.items())},
    }


def boxed_sets(screen: SlideScreen, fields: Path, part: Part) -> dict[str, Any]:
    """raabin's boxes and chula_more's points."""
    counts = {"raabin": Counter[str](), "chula_more": Counter[str]()}
    for name, count in counts.items():
        rows = read_annotations(fields / name)
        for file in files_of(fields / name, part):
            image, truth = read_image(file), rows.get(file.name, [])
            cells = own_cells(screen, image)
            more = count_boxed(image, cells, truth) if name == "raabin" else None
            count.update(count_points(cells, truth) if more is None else more)
    return {name: {**rates(count), "counts": dict(count)} for name, count in counts.items()}


def main() -> None:
    """Measures and writes the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=("report", "fit"), default="report")
    parser.add_argument("--every", type=int, default=1, help="only every n-th picture of pbc")
    parser.add_argument("--pictures", type=Path, help="an ignored folder, such as runs/fields")
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    fields, page = options.data / "fields", options.pictures
    screen = SlideScreen(read_bundle(shipped_bundle()))
    phone = {"phone_eyepiece": files_of(fields / "phone_eyepiece", "all")}
    figures: dict[str, Any] = {
        "part": options.part,
        "pbc_every": options.every,
        "phone_eyepiece": slides(screen, phone, page and page / "phone_eyepiece"),
        "cheap_rig": slides(
            screen, slides_of_rig(fields, options.part), page and page / "cheap_rig"
        ),
    }
    print(figures, flush=True)
    figures["iml_recoloured"] = colourless(screen, fields)
    print(figures["iml_recoloured"], flush=True)
    figures |= boxed_sets(screen, fields, options.part)
    print(figures["raabin"], figures["chula_more"], flush=True)
    figures["pbc"] = middle_cells(screen, fields, options.part, options.every)
    print(figures["pbc"], flush=True)
    if not options.dry:
        command = "python -m benchmarks.fields.foreign_fields --data DATA"
        if options.every > 1:
            command += f" --every {options.every}"
        write_evidence("foreign_fields", command, figures)


if __name__ == "__main__":
    main()
