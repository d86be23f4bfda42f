"""A model of somebody else -> this project's form, and the proof that nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.quiet import quiet
from edge_malaria.errors import GateFailed, ModelFileError, ModelShapeError
from edge_malaria.export.importers.contract import Contract, Declared, read_toml, settle
from edge_malaria.export.importers.graph import Untranslatable
from edge_malaria.export.importers.original import Original, read_original
from edge_malaria.records import Image

# Float rounding of two engines; a wrong fold is off by far more.
LARGEST_CHANGE = 1e-4
# A file with 8-bit weights also rounds activations, cell by cell, each time it runs; the rebuilt
# network does not.
LARGEST_CHANGE_ROUNDING = 0.05
_PROBES = 24


@dataclass(frozen=True, eq=False)
class Loading:
    """How files that bring code or lack an architecture are read.

    Attributes:
        custom_objects: a module whose classes and functions a Keras file may use; None: safe mode.
        arch: the network of this project that a file of weights alone belongs to.
    """

    custom_objects: str | None = None
    arch: str | None = None


@dataclass(frozen=True, eq=False)
class Imported:
    """A model in this project's form.

    Attributes:
        original: as it came.
        contract: what it expects and answers.
        model: Keras, pixels 0-255 RGB -> one logit of parasitized.
        largest_change: of a probability, between the two, on probe pictures.
    """

    original: Original
    contract: Contract
    model: Any
    largest_change: float


def open_original(path: Path, declared: Declared, loading: Loading) -> tuple[Original, Declared]:
    """Reads a model, and adds ``<model>.toml`` to what was declared."""
    from edge_malaria.export.importers.keras_files import custom_objects

    custom: Mapping[str, Any] | None = None
    if loading.custom_objects is not None:
        custom = custom_objects(loading.custom_objects)
    full = declared.over(read_toml(path))
    return read_original(path, full.input_size, custom, loading.arch), full


def facts_of(original: Original) -> dict[str, str]:
    """What the file tells of its contract: its last activation and its own scaling.

    Raises:
        ModelShapeError: it does not answer with one logit or probability, or one of each class.
    """
    from edge_malaria.export.importers.rebuild import head_of
    from edge_malaria.export.importers.told import told_by_graph

    try:
        head = head_of(original.graph)
    except Untranslatable as error:
        raise ModelShapeError(f"{original.path}: {error}. {_HEADS}") from error
    output = {"none": "logit"}.get(head.activation, head.activation)
    return {"output": output, **told_by_graph(original.graph), **original.told}


_HEADS = (
    "Expected one logit or sigmoid, or a softmax or two logits over the classes Uninfected and "
    "Parasitized."
)
# The larger of two sigmoids is the larger of their softmax: the author's calls stay.
_SOFTMAX = (
    " Its last layer may take a softmax with the same weights, and the larger answer stays the "
    "larger one:\n  model.layers[-1].activation = keras.activations.softmax; model.save(...)"
)


def build(original: Original, contract: Contract) -> Imported:
    """Rebuilds a model under a contract and compares it with the original.

    Raises:
        ModelFileError: an operation that this project's form does not have.
        ModelShapeError: another number of outputs.
        GateFailed: it answers with NaN, or the two do not answer alike.
    """
    from edge_malaria.export.importers.net import Net
    from edge_malaria.export.importers.rebuild import finish, head_of, run

    with quiet():
        try:
            net = Net(original.graph, contract.scaling)
            head = head_of(original.graph)
            end = run(net, head.tensor)
            _check_outputs(original, head.activation, len(end.take))
            model = finish(net, end, contract.positive, _keras_name(original.name))
        except Untranslatable as error:
            raise ModelFileError(
                f"{original.path} cannot be brought into this project's form: {error}. Put another "
                "layer in its place where it was trained and train it again: docs/OWN_MODEL.md "
                "lists the layers that can be read and what takes the place of others."
            ) from error
    pixels = probes(contract.size_px)
    before = answers(original, contract, pixels)
    if not np.isfinite(before).all():
        raise GateFailed(
            f"{original.path} answers with NaN: some of its weights are no numbers or far too "
            "large, as after a training that diverged. Take an earlier checkpoint, or train again "
            "with a smaller learning rate. Nothing was written."
        )
    after = sigmoid(logits_of(model, pixels))
    worst = float(np.abs(before - after).max())
    limit = LARGEST_CHANGE_ROUNDING if original.rounds else LARGEST_CHANGE
    if not (worst <= limit):
        raise GateFailed(
            f"{original.path}: rebuilt, it answers otherwise than it did: a probability changes by "
            f"{worst:.3g} (limit {limit:g}). Nothing was written."
        )
    return Imported(original, contract, model, worst)


def import_model(
    path: Path, declared: Declared, loading: Loading | None = None, *, labels: bool = False
) -> Imported:
    """Reads, completes the contract, rebuilds and compares.

    Args:
        path: of any kind of ``original.KINDS``, or a SavedModel folder.
        declared: what is known about it; ``<path>.toml`` adds to it.
        loading: how files that bring code are read.
        labels: whether labelled cells will prove the order of the classes.

    Raises:
        UsageError: the contract is incomplete or contradicts the file.
        ModelFileError, ModelShapeError, GateFailed: see ``build``.
    """
    original, full = open_original(path, declared, loading or Loading())
    contract = settle(str(path), original.graph.size_px, full, facts_of(original), labels=labels)
    return build(original, contract)


def _check_outputs(original: Original, activation: str, count: int) -> None:
    wanted = {"sigmoid": (1,), "softmax": (2,)}.get(activation, (1, 2))
    if count not in wanted:
        instead = _SOFTMAX if (activation, count) == ("sigmoid", 2) else ""
        raise ModelShapeError(
            f"{original.path} answers with {count} values after {activation}. {_HEADS}{instead}"
        )


def _keras_name(name: str) -> str:
    plain = "".join(letter if letter.isalnum() else "_" for letter in name).strip("_")
    return plain if plain and plain[0].isalpha() else f"model_{plain}"


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities float64 of logits."""
    wide = np.asarray(logits, np.float64)
    e = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


def logits_of(model: Any, pixels: Image) -> NDArray[np.float32]:
    """uint8 [N, S, S, 3] -> float32 [N]."""
    from converters.keras_engine import KerasEngine

    return KerasEngine(model).run(pixels).reshape(-1)


def answers(original: Original, contract: Contract, pixels: Image) -> NDArray[np.float64]:
    """The original's probability of parasitized, float64 [N], for prepared cells uint8."""
    from edge_malaria.export.importers.rebuild import head_of

    try:
        raw = original.run(contract.scaling.apply(pixels)).astype(np.float64)
    except Exception as error:  # each framework raises its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelFileError(f"{original.path} cannot be run as it is ({reason}).") from error
    raw = raw.reshape(len(pixels), -1)
    if head_of(original.graph).logarithms:
        raw = np.exp(raw)
    return chances_of(raw, contract.output, contract.positive)


def chances_of(raw: NDArray[np.float64], output: str, positive: int) -> NDArray[np.float64]:
    """Outputs [N, 1 or 2] -> probability of parasitized [N]."""
    if output == "softmax":
        return np.asarray(raw[:, positive], np.float64)
    if raw.shape[1] == 2:
        return sigmoid(raw[:, positive] - raw[:, 1 - positive])
    ones = raw[:, 0] if output == "sigmoid" else sigmoid(raw[:, 0])
    return np.asarray(ones if positive == 1 else 1.0 - ones, np.float64)


def probes(size_px: int) -> Image:
    """Drawn cells, and blotches of any colour with black borders; uint8 [N, S, S, 3]."""
    import cv2

    from edge_malaria.prepare.preprocess import network_input
    from edge_malaria.synthetic import draw_cell

    rng = np.random.default_rng(7)
    drawn = [draw_cell(rng, kind) for kind in ("healthy", "ring", "schizont") for _ in range(8)]
    found = [network_input(cell.image, size_px, cell.mask) for cell in drawn]
    for index in range(_PROBES):
        coarse = rng.integers(0, 256, (3 + index % 9, 3 + index % 9, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)
        border = (index % 4) * size_px // 16
        if border:
            picture[:border] = picture[:, -border:] = 0
        found.append(picture)
    return np.asarray(np.stack(found), np.uint8)
