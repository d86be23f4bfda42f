"""``edge-malaria classify IMAGE...``"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.options import (
    BundleOption,
    EngineOption,
    JsonOption,
    MaskMode,
    MaskOption,
    OperatingPoint,
    PointOption,
    ThreadsOption,
    Variant,
    VariantOption,
    engine_for,
    open_named,
)


def register(app: typer.Typer) -> None:
    """Adds ``classify``."""
    app.command("classify")(classify)


def classify(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Crops of single red cells, or folders."),
    ],
    bundle: BundleOption = None,
    variant: VariantOption = Variant.int8,
    engine: EngineOption = None,
    mask: MaskOption = MaskMode.none,
    operating_point: PointOption = OperatingPoint.balanced,
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Say of each red-cell crop how probably it is parasitized.

    A crop is one cell, tight, its background black; with --mask auto its neighbours may show.
    All crops of one call are taken as one slide's: where the bundle scales the slide's colour, it
    is read from them together.
    What looks like a white cell or platelet to the bundle's finder gets "unsure", and so do colours
    that no laboratory's red cells have: grey, one channel of a picture, a turned hue.
    For research use only. Not for use in diagnostic procedures.
    """
    from edge_malaria.cli.output import SCHEMA_VERSION, log, print_table
    from edge_malaria.evaluation import isolated, prepared
    from edge_malaria.files import read_image
    from edge_malaria.runtime.classify.cell_tint import cell_tint, foreign_slide
    from edge_malaria.runtime.classify.classifier import crop_classifier, unsure_by_tint

    files = _expand(images)
    read = open_named(bundle)
    classifier = crop_classifier(
        read,
        variant=variant.value,
        engine=engine_for(read, variant, engine),
        operating_point=operating_point.value,
        threads=threads,
    )
    table = _table(files, classifier.target, mask.value)
    if table is not None:
        log(f"colour scaled from the median of {len(files)} crops, taken as one slide.")
    foreign = foreign_slide(_tints(files, mask.value))
    if foreign:
        log("the crops' common colour is no stained red cell's: all are unsure.")
    rows = []
    for file in files:
        image = read_image(file)
        crop = prepared(image, classifier.target, mask.value, table)
        predictions = classifier.predict_inputs(crop[None])
        tint = cell_tint(*isolated(image, mask.value))
        [prediction] = unsure_by_tint(predictions, [tint], foreign)
        rows.append((str(file), prediction))
    if as_json:
        # The contract is a bare list, so what holds for all stands in each of its objects.
        decided = {
            "model": f"{read.name} {read.version}",
            "variant": classifier.variant,
            "operating_point": classifier.operating_point,
            "threshold": classifier.threshold,
        }
        print(
            json.dumps(
                [
                    {
                        "schema_version": SCHEMA_VERSION,
                        "file": file,
                        "label": p.label,
                        "p_parasitized": p.p_parasitized,
                        "positive": p.positive,
                        **decided,
                    }
                    for file, p in rows
                ],
                indent=2,
                allow_nan=False,
            )
        )
        return
    print_table(
        "",
        ("file", "label", "p parasitized"),
        [(f, p.label, f"{p.p_parasitized:.4f}") for f, p in rows],
    )


def _tints(files: list[Path], mask: str) -> list[Any]:
    """The tints of crops spread over ``files``."""
    from edge_malaria.evaluation import isolated
    from edge_malaria.files import read_image
    from edge_malaria.prepare.stain import evenly
    from edge_malaria.runtime.classify.cell_tint import cell_tint

    return [cell_tint(*isolated(read_image(files[i]), mask)) for i in evenly(len(files))]


def _table(files: list[Path], target: Any, mask: str) -> Any:
    """The colour table of the crops as one slide; None where the bundle scales none."""
    from edge_malaria.evaluation import isolated
    from edge_malaria.files import read_image
    from edge_malaria.prepare.contract import preparation
    from edge_malaria.prepare.stain import cell_colour, evenly, median_colour

    stain = preparation(target).stain
    if stain is None:
        return None
    chosen = [isolated(read_image(files[index]), mask) for index in evenly(len(files))]
    read = [cell_colour(*looked) for looked in chosen]
    colour = median_colour([one for one in read if one is not None])
    return None if colour is None else stain.table(colour)


def _expand(images: list[Path]) -> list[Path]:
    from edge_malaria.cli.output import warn
    from edge_malaria.errors import ImageError
    from edge_malaria.files import printable
    from edge_malaria.runtime.sources.listing import listed

    files: list[Path] = []
    for path in images:
        if path.is_dir():
            inside = listed(path)
            for text in inside.left_out(printable(str(path))):
                warn(text)
            if not inside.pictures:
                raise ImageError(f"{printable(str(path))} holds no images.")
            files += inside.pictures
        else:
            files.append(path)
    return files
