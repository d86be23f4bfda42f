"""``edge-malaria explain``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_malaria.cli.options import (
    EngineName,
    EngineOption,
    JsonOption,
    Variant,
    VariantOption,
    new_output,
)
from edge_malaria.cli.output import print_json

if TYPE_CHECKING:
    from edge_malaria.records import Image
    from edge_malaria.runtime.classify.classifier import Classifier
    from edge_malaria.runtime.explain.explain_page import Figure
    from edge_malaria.runtime.explain.occlusion import Logits

# Drawn cells on which a Keras model's channel is chosen.
RINGS, RINGS_SEED = 64, 101


def register(app: typer.Typer) -> None:
    """Adds ``explain``."""
    app.command("explain")(explain)


@dataclass(frozen=True, eq=False)
class _Looked:
    """A model asked about one cell."""

    cell: Image
    engine: str
    logits: Logits
    p_parasitized: float
    model: Any = None  # Keras's, where it is one


def explain(
    model: Annotated[
        Path, typer.Argument(help="A bundle, a shipped model's name, or a .keras file.")
    ],
    image: Annotated[Path, typer.Argument(help="Crop of one red cell, its background black.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG to write.")],
    page: Annotated[
        Path | None, typer.Option("--page", help="HTML page to write, pictures inside.")
    ] = None,
    variant: VariantOption = Variant.int8,
    engine: EngineOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which part of a cell a model's answer rests on.

    Parts of the cell are covered in turn; where the logit falls, the model was looking. A .keras
    file also shows the channel that finds parasites in drawn cells; its --page holds every layer's
    activations and what excites its channels. For research use only. Not for use in diagnostic
    procedures.
    """
    from edge_malaria.errors import UsageError
    from edge_malaria.files import read_image, write_image, write_text
    from edge_malaria.runtime.explain.explain_page import Figure
    from edge_malaria.runtime.explain.explain_page import page as html_page
    from edge_malaria.runtime.explain.occlusion import occlude, panel

    if output.suffix.lower() != ".png":
        raise UsageError(f"-o {output}: expected a name that ends in .png.")
    for path in (output, page):
        new_output(path, force)
    crop = read_image(image)
    keras = model.suffix == ".keras"
    looked = _keras(model, crop) if keras else _bundle(model, crop, variant, engine)
    found = occlude(looked.cell, looked.logits)
    picture = panel(looked.cell, found, looked.p_parasitized)
    per_px = (crop.shape[1] / len(looked.cell), crop.shape[0] / len(looked.cell))
    document = {
        "image": str(image),
        "model": str(model),
        "engine": looked.engine,
        "p_parasitized": looked.p_parasitized,
        "logit": found.logit,
        "peak": {
            "input_xy": list(found.peak),
            "image_xy": _scaled(found.peak, per_px),
            "logit_drop": float(found.drop.max()),
        },
        "channel": None,
        "output": str(output),
        "page": None if page is None else str(page),
    }
    figures = [Figure(picture, "Covering: red where it lowers the logit, cross at the most.")]
    if looked.model is not None:
        picture, document["channel"] = _channel(looked, per_px, picture)
        figures = [Figure(picture, f"{figures[0].caption} Below: the channel that finds parasites")]
        figures += _layers(looked) if page is not None else []
    write_image(output, picture)
    if page is not None:
        write_text(page, html_page(f"{image.name} by {model.name}", figures))
    _show(document, as_json)


def _scaled(place: Any, per_px: tuple[float, float]) -> list[float]:
    return [round(float(at) * step, 2) for at, step in zip(place, per_px, strict=True)]


def _table(crop: Image, target: Any) -> Image | None:
    """The colour scaling of a crop that is its own slide; None where the model has none."""
    from edge_malaria.prepare.contract import preparation
    from edge_malaria.prepare.stain import cell_colour

    stain, colour = preparation(target).stain, cell_colour(crop)
    return None if stain is None or colour is None else stain.table(colour)


def _bundle(path: Path, crop: Image, variant: Variant, engine: EngineName | None) -> _Looked:
    from edge_malaria.cli.options import engine_for, open_named
    from edge_malaria.prepare.preprocess import network_input
    from edge_malaria.runtime.classify.classifier import Classifier

    read = open_named(path)
    classifier = Classifier(read, variant.value, engine_for(read, variant, engine))
    cell = network_input(crop, classifier.target, table=_table(crop, classifier.target))
    return _asked(cell, classifier)


def _asked(cell: Image, classifier: Classifier, model: Any = None) -> _Looked:
    """The cell's answer and the logits that make it, also where it is asked again.

    A covered cell is asked as the whole one was, also where covering takes it below the threshold.
    """
    [prediction] = classifier.predict_inputs(cell[None])
    logits = classifier.logits
    if classifier.asks_again(logits(cell[None]))[0]:
        logits = classifier.logits_again
    return _Looked(cell, classifier.engine.name, logits, prediction.p_parasitized, model)


def _keras(path: Path, crop: Image) -> _Looked:
    from edge_malaria.cli.own_model import asking
    from edge_malaria.export.classifiers import source_classifier
    from edge_malaria.export.load import load_source
    from edge_malaria.prepare.preprocess import network_input

    with asking(options=False):
        source = load_source(str(path))
    cell = network_input(crop, source.target, table=_table(crop, source.target))
    return _asked(cell, source_classifier(source, path, "balanced"), source.plain)


def _channel(
    looked: _Looked, per_px: tuple[float, float], above: Image
) -> tuple[Image, dict[str, Any]]:
    """The panel with the parasite channel's overlay under it, and the channel for the JSON."""
    import cv2
    import numpy as np

    from edge_malaria.runtime.explain.occlusion import inside_cell, paint
    from edge_malaria.training.activations import activations, drawn_rings, find_channel, peaks

    size = len(looked.cell)
    chosen = find_channel(looked.model, *drawn_rings(RINGS, size, RINGS_SEED))
    [maps] = activations(looked.model, [chosen.layer], looked.cell[None])
    values = maps[..., chosen.index, None]
    place = peaks(values, inside_cell(looked.cell[None]))[0, 0]
    silent = bool(np.isnan(place).any())
    fine = cv2.resize(values[0, :, :, 0], (size, size), interpolation=cv2.INTER_LINEAR)
    shown = np.where(inside_cell(looked.cell[None])[0], fine, 0.0).astype(np.float32)
    drawn = paint(looked.cell, shown, (-size, -size) if silent else (place[0], place[1]))
    row = np.full((len(drawn), above.shape[1], 3), 255, np.uint8)
    row[:, : drawn.shape[1]] = drawn
    words = (f"{chosen.layer}", f"channel {chosen.index}", "activation: red", "peak: cross")
    for index, line in enumerate(words):
        at = (drawn.shape[1] + 20, 40 + 28 * index)
        cv2.putText(row, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    peak = None if silent else _scaled(place, per_px)
    return np.vstack([above, row]), {**asdict(chosen), "peak_image_xy": peak}


def _layers(looked: _Looked) -> list[Figure]:
    """For each layer the cell's activations and inputs that excite its strongest channels."""
    import cv2
    import numpy as np

    from edge_malaria.runtime.explain.explain_page import Figure
    from edge_malaria.training.activations import activations, feature_layers, maximise, montage

    figures = []
    names = feature_layers(looked.model)
    for name, maps in zip(names, activations(looked.model, names, looked.cell[None]), strict=True):
        strongest = [int(c) for c in np.argsort(-maps[0].max(axis=(0, 1)))[:8]]
        pictures = maximise(looked.model, name, strongest)
        sheet = np.hstack([cv2.resize(p, (96, 96)) for p in pictures])
        figures.append(Figure(montage(maps[0]), f"{name}: every channel's activation"))
        shown = ", ".join(map(str, strongest))
        figures.append(Figure(sheet, f"{name}: inputs that excite channels {shown} most"))
    return figures


def _show(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    x, y = document["peak"]["image_xy"]
    print(f"p parasitized {document['p_parasitized']:.4f} (logit {document['logit']:.2f})")
    print(f"covering lowers the logit most at x {x:.0f}, y {y:.0f}: {document['output']}")
    channel = document["channel"]
    if channel is not None:
        print(
            f"parasite channel: {channel['layer']} {channel['index']}, peak in the parasite's box "
            f"in {channel['share']:.0%} of the {channel['cells']} drawn rings it was chosen on"
        )
    if document["page"] is not None:
        print(f"page: {document['page']}")
