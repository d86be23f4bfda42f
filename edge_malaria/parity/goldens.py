"""The bundle's stored cells, crops and outputs, against what runs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.golden import NEAR_LOGITS, GoldenOutputs, Goldens
from edge_malaria.bundle.limits import golden_difference
from edge_malaria.errors import ImageError
from edge_malaria.parity.causes import input_cause
from edge_malaria.parity.findings import REFERENCE, Failure, Settings
from edge_malaria.parity.numeric import Outputs, bit_identical
from edge_malaria.parity.opened import OpenedFile
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image, Mask
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.engines.base import dequantize

CELLS_FILE, KERAS_FILE = "golden/cells.npz", "golden/keras.npz"
# Half of the drawn cells are made to lie near the threshold; a network that is sure of everything
# may leave fewer, but below a quarter the evidence says little about calls.
_LEAST_NEAR_SHARE = 0.25
_SINGLES, _ODD, _ODD_CELLS = 16, 7, 91
# All golden cells of the usual sizes with two threads; of a 224-px network only as many as 128.
_THREADED_PIXELS = 128 * 224 * 224


def check_cells(
    goldens: Goldens, size_px: int, settings: Settings, *, decide: bool = True
) -> list[Failure]:
    """Enough cells, of the right size, the ones that were run; where they decide, enough near."""
    cells, found = goldens.cells, []
    n, near = len(cells.inputs), int(cells.near.sum())
    least = settings.min_golden if decide else min(settings.min_stored, settings.min_golden)
    least_near = int(np.ceil(_LEAST_NEAR_SHARE * settings.min_golden))

    def fail(file: str, what: str, got: object, expected: object, cause: str = "") -> None:
        found.append(Failure("goldens", file, what, str(got), str(expected), "", cause))

    if not (n >= least):
        fail(CELLS_FILE, "drawn cells", n, f">= {least}", "too few cells")
    if decide and not (near >= least_near):
        cause = (
            "too few cells near the threshold to show a changed call: the network is too sure of "
            "drawn cells"
        )
        fail(
            CELLS_FILE,
            f"cells within {NEAR_LOGITS:g} of the threshold",
            near,
            f">= {least_near}",
            cause,
        )
    if cells.inputs.shape[1:] != (size_px, size_px, 3):
        fail(CELLS_FILE, "cell shape", cells.inputs.shape[1:], (size_px, size_px, 3))
    if not len(cells.crops):
        fail("golden/crops", "encoded crops", 0, "at least 1")
    for name, outputs in {"keras": goldens.keras, **goldens.engines}.items():
        file = f"golden/{name}.npz"
        if outputs.cells_sha256 != cells.sha256:
            cause = "these outputs belong to other cells"
            fail(file, "cells_sha256", outputs.cells_sha256[:12], cells.sha256[:12], cause)
        shapes = (outputs.raw.shape, outputs.crop_raw.shape)
        wanted = ((n,), (len(cells.crops),))
        if shapes != wanted:
            fail(file, "stored outputs", shapes, wanted)
    return found


def _worst(
    got: NDArray[Any], expected: NDArray[Any], settings: Settings, variant: str
) -> tuple[bool, str, str]:
    """(within limits, worst difference, limit) of two raw outputs of one file."""
    found = golden_difference(got, expected, settings.limits_of(variant))
    return found.fits, *found.texts


def check_outputs(
    file: OpenedFile, outputs: Outputs, goldens: Goldens, settings: Settings
) -> list[Failure]:
    """A file's outputs here against those stored when it was exported."""
    name = f"golden/{file.name}.npz"
    stored = goldens.engines.get(file.name)
    if stored is None:
        cause = "the file was never run when the bundle was exported"
        return [Failure("goldens", file.name, name, "missing", "stored outputs", "", cause)]
    found = []
    if stored.model_sha256 != file.spec.sha256:
        got, want = stored.model_sha256[:12], file.spec.sha256[:12]
        cause = "the stored outputs are another model's"
        found.append(Failure("goldens", file.name, f"{name} model_sha256", got, want, "", cause))
    if stored.raw.dtype != outputs.raw.dtype or stored.raw.shape != outputs.raw.shape:
        got, want = (
            f"{outputs.raw.dtype} {outputs.raw.shape}",
            f"{stored.raw.dtype} {stored.raw.shape}",
        )
        found.append(Failure("goldens", file.name, "outputs on golden cells", got, want))
        return found
    fits, worst, limit = _worst(outputs.raw, stored.raw, settings, file.variant)
    if not fits:
        what = "outputs on golden cells"
        cause = _whose(outputs, stored, goldens, file)
        expected = f"those of {name}"
        found.append(Failure("goldens", file.name, what, worst, expected, limit, cause))
    return found


def _whose(outputs: Outputs, stored: GoldenOutputs, goldens: Goldens, file: OpenedFile) -> str:
    """Which side of a disagreement is closer to Keras."""
    keras = goldens.keras.raw.astype(np.float64)
    if len(keras) != len(outputs.logits):
        return ""
    here = float(np.mean((outputs.logits - keras) ** 2))
    there = float(np.mean((dequantize(stored.raw, file.engine.output) - keras) ** 2))
    if here < 0.25 * there:
        return "the stored outputs are another model's: the file agrees with Keras"
    return ""


def check_keras(
    goldens: Goldens, drawn: Mapping[str, Outputs], settings: Settings
) -> list[Failure]:
    """Keras's stored outputs: finite, not constant, and not those of another model."""
    keras, found = goldens.keras.raw, []
    if not (keras.size and np.isfinite(keras).all() and float(np.std(keras)) > 0):
        got = "empty, constant or not finite"
        found.append(Failure("goldens", KERAS_FILE, "Keras's outputs", got, "finite and varied"))
        return found
    names = [name for name in drawn if drawn[name].variant == "float32"]
    limit = settings.limits_of("float32").golden_logit
    agree = [
        name
        for name in drawn
        if len(keras) == len(drawn[name].logits)
        and name in goldens.engines
        and bit_identical(drawn[name].raw, goldens.engines[name].raw)
    ]
    off = [
        name
        for name in names
        if name in agree and not (float(np.abs(drawn[name].logits - keras).max()) <= 10 * limit)
    ]
    # Every file gives what it gave when it was exported, and none of the float ones is Keras.
    if names and len(off) == len(names) and len(agree) == len(drawn):
        worst = max(float(np.abs(drawn[name].logits - keras).max()) for name in off)
        cause = "golden/keras.npz is another model's, or the conversion to float32 lost something"
        found.append(
            Failure(
                "goldens",
                KERAS_FILE,
                f"logits against {' and '.join(off)}",
                f"{worst:.3g} apart",
                "the float files' logits",
                f"<= {limit:g}",
                cause,
            )
        )
    return found


def check_asked_again(goldens: Goldens, decision: Decision) -> list[Failure]:
    """Where flagged cells are asked again, what Keras says then is stored too."""
    again = goldens.keras.again
    if decision.asked_again_from is None:
        return []
    if again is not None and again.shape == goldens.keras.raw.shape:
        return []
    got = "missing" if again is None else str(again.shape)
    cause = "nothing shows what Keras says of flagged cells; export the bundle again"
    want = f"{goldens.keras.raw.shape}"
    what = "logits of cells that are asked again"
    return [Failure("goldens", KERAS_FILE, what, got, want, "", cause)]


def check_live(stored: Outputs, live: Outputs, settings: Settings) -> list[Failure]:
    """The Keras model given as reference is the one whose outputs the bundle stores."""
    limit = settings.limits_of("float32").golden_logit
    worst = float(np.abs(live.logits.astype(np.float64) - stored.logits).max(initial=0.0))
    if worst <= limit:
        return []
    cause = "the reference is another model, or golden/keras.npz is another model's"
    want = "its stored outputs"
    got = f"{worst:.3g} apart"
    return [
        Failure("goldens", REFERENCE, "logits of the reference", got, want, f"<= {limit:g}", cause)
    ]


def check_batches(
    file: OpenedFile, whole: Outputs, inputs: Image, settings: Settings
) -> list[Failure]:
    """The same cells one by one, in odd batches, and with two threads, against one large batch."""
    single = np.concatenate([file.engine.run_raw(inputs[i : i + 1]) for i in range(_SINGLES)])
    odd = np.concatenate(
        [
            file.engine.run_raw(inputs[i : min(i + _ODD, _ODD_CELLS)])
            for i in range(0, _ODD_CELLS, _ODD)
        ]
    )
    enough = max(_ODD_CELLS, _THREADED_PIXELS // int(np.prod(inputs.shape[1:3])))
    threads = file.threaded(2).run_raw(inputs[:enough])
    found = []
    for what, raw in (
        ("batches of 1", single),
        (f"batches of {_ODD}", odd),
        ("two threads", threads),
    ):
        got = raw.reshape(len(raw), -1)[:, 0]
        expected = whole.raw[: len(got)]
        if got.dtype.kind in "iu":
            fits = np.array_equal(got, expected)
            worst, limit = f"{np.count_nonzero(got != expected)} cells differ", "0"
        else:
            fits, worst, limit = _worst(got, expected, settings, file.variant)
        if not fits:
            against = f"those of one batch of {len(inputs)}"
            what = f"outputs with {what}"
            found.append(Failure("tensors", file.name, what, worst, against, limit))
    return found


def decoded_crops(goldens: Goldens) -> list[tuple[Image, Mask]]:
    """The stored pictures, decoded."""
    return [crop.decoded() for crop in goldens.cells.crops]


def check_inputs(goldens: Goldens, size_px: Target) -> tuple[Image | None, list[Failure]]:
    """Decodes and prepares the stored crops; (network inputs or None, failures)."""
    expected = goldens.cells.crop_inputs
    subject = "golden/crops"
    try:
        crops = decoded_crops(goldens)
        made = network_inputs([c for c, _ in crops], size_px, [m for _, m in crops])
    except (ImageError, ValueError) as error:
        what = "decoding and preparing"
        return None, [Failure("files", subject, what, str(error), "network inputs")]
    if made.shape != expected.shape:
        what = "network inputs"
        return None, [Failure("files", subject, what, str(made.shape), str(expected.shape))]
    if made.size and np.array_equal(made, expected):
        return made, []
    differing = int(np.count_nonzero((made != expected).any(axis=(1, 2, 3))))
    worst = int(np.abs(made.astype(np.int16) - expected.astype(np.int16)).max())
    got = f"{differing} of {len(made)} crops differ, by up to {worst} grey levels"
    cause = input_cause(made, expected, crops, preparation(size_px).steps)
    what = "network inputs made from encoded crops"
    return made, [Failure("files", subject, what, got, "the stored ones", "", cause)]


def check_crop_outputs(
    outputs: Outputs, goldens: Goldens, decision: Decision, settings: Settings
) -> list[Failure]:
    """From encoded picture to probability, against Keras on the stored network inputs."""
    keras = goldens.keras.crop_raw
    if keras.shape != outputs.logits.shape:
        return []  # check_cells has said so
    p = decision.probabilities(keras.astype(np.float32))
    q = decision.probabilities(outputs.logits)
    worst = float(np.abs(p - q).max(initial=0.0))
    limit = settings.limits_of(outputs.variant).max_abs_diff
    if worst <= limit:
        return []
    what = "largest change of a probability, from encoded crops"
    return [Failure("files", outputs.name, what, f"{worst:.3g}", "that of keras", f"<= {limit:g}")]
