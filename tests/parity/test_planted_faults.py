"""Every planted fault is refused, with a message that names its cause or its stage.

Each fault edits files from outside (``faults.py``) and records them again as a faulty export
would, so neither a hash nor a stale golden gives it away.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edge_malaria
from edge_malaria import golden_draw
from edge_malaria.bundle import read_bundle
from edge_malaria.golden import read_goldens
from edge_malaria.parity import ParityReport, gate
from tests.parity import faults
from tests.parity.faults import FLOAT, INT8

Plant = Callable[[Path], None]


@dataclass(frozen=True)
class Fault:
    """A fault, and words that one of the gate's messages must hold."""

    name: str
    plant: Plant
    words: tuple[str, ...]


def _tflite(file: str, edit: Callable[[Any], None]) -> Plant:
    def plant(bundle: Path) -> None:
        faults.edit_tflite(bundle / file, edit)
        faults.record_again(bundle)

    return plant


def _onnx(file: str, edit: Callable[[Any], None]) -> Plant:
    def plant(bundle: Path) -> None:
        faults.edit_onnx(bundle / file, edit)
        faults.record_again(bundle)

    return plant


def _swap_channels(tensors: Any) -> None:
    values = faults.values_of(faults.first_kernel(tensors))
    values[...] = values[..., ::-1].copy()


def _swap_channels_onnx(values: Any) -> None:
    for value in values.values():
        if value.ndim == 4 and value.shape[1] == 3:
            value[...] = value[:, ::-1].copy()
            return
    raise AssertionError("expected a kernel with three input channels")


def _rescaled(factor: float) -> Callable[[Any], None]:
    def edit(tensors: Any) -> None:
        faults.rescale(tensors, faults.first_kernel(tensors), factor)

    return edit


def _shift_input_zero_point(tensors: Any) -> None:
    next(t for t in tensors if len(t.shape) == 4 and t.shape[-1] == 3 and t.values is None)
    pixels = next(t for t in tensors if t.values is None and t.shape[-1:] == (3,))
    pixels.zero_points[...] = 0


def _output(tensors: Any) -> Any:
    return next(t for t in tensors if t.values is None and t.dtype == "int8" and t.shape == (1, 1))


def _shifted_logits(bundle: Path) -> None:
    """What a reader with another zero point sees: every logit shifted alike."""
    faults.shift_logit(bundle / INT8, 25)
    faults.record_again(bundle)


def _wrong_zero_point_in_onnx_metadata(bundle: Path) -> None:
    import onnx

    path = bundle / "model.int8.onnx"
    proto = onnx.load_model_from_string(path.read_bytes())
    for entry in proto.metadata_props:
        if entry.key == "edge_malaria.output":
            scale, zero_point = entry.value.split()
            entry.value = f"{scale} {int(zero_point) + 25}"
    path.write_bytes(proto.SerializeToString())
    faults.record_again(bundle)


def _double_output_scale(tensors: Any) -> None:
    _output(tensors).scales[...] *= 2


def _halve_inner_scale(tensors: Any) -> None:
    # The largest pointwise layer: its weights are read as half of what they are.
    kernel = max(faults.kernels(tensors), key=lambda t: t.scales.size)
    kernel.scales[...] /= 2
    faults.bias_of(tensors, kernel)


def _zero_layer(tensors: Any) -> None:
    kernel = max(faults.kernels(tensors), key=lambda t: np.prod(t.shape))
    faults.values_of(kernel)[...] = 0


def _zero_layer_onnx(values: Any) -> None:
    kernels = [value for value in values.values() if value.ndim == 4]
    max(kernels, key=lambda value: value.size)[...] = 0


def _nan_weight(tensors: Any) -> None:
    faults.values_of(faults.last_kernel(tensors)).reshape(-1)[0] = np.nan


def _nan_weight_onnx(values: Any) -> None:
    kernel = max((v for v in values.values() if v.dtype == np.float32), key=lambda v: v.size)
    kernel.reshape(-1)[7] = np.nan


def _nan_scale(tensors: Any) -> None:
    faults.last_kernel(tensors).scales[...] = np.nan


def _weights_lost(bundle: Path) -> None:
    faults.lose_weights(bundle / FLOAT)
    faults.record_again(bundle)


def _negate_logit(tensors: Any) -> None:
    kernel = faults.last_kernel(tensors)
    faults.values_of(kernel)[...] *= -1
    if kernel.dtype == "int8":
        faults.values_of(faults.bias_of(tensors, kernel))[...] *= -1
        return
    for tensor in tensors:
        if tensor.values is not None and tensor.shape == (1,) and tensor.dtype == "float32":
            tensor.values[...] *= -1


def _labels_swapped(bundle: Path) -> None:
    record = faults.record_of(bundle)
    record["models"]["classifier"]["labels"].reverse()
    faults.rehash(bundle, record)


def _per_tensor_collapse(tensors: Any) -> None:
    for kernel in faults.kernels(tensors):
        if kernel.scales.size > 1:
            faults.per_tensor(tensors, kernel)


def _dynamic_under_the_name_of_int8(bundle: Path) -> None:
    (bundle / INT8).write_bytes((bundle / "model.dynamic.tflite").read_bytes())
    faults.record_again(bundle)


def _float_onnx_under_the_name_of_int8(bundle: Path) -> None:
    (bundle / "model.int8.onnx").write_bytes((bundle / "model.float32.onnx").read_bytes())
    faults.record_again(bundle)


def _another_models_engine_goldens(bundle: Path) -> None:
    """The float32 file's outputs, quantized, of another network: here a function of redness."""
    opened = read_bundle(bundle)
    cells = read_goldens(opened.contents).cells
    spec = opened.classifier.file("int8", "litert")
    redness = cells.inputs[..., 0].mean(axis=(1, 2)) - 60

    class Other:
        name = "litert"
        input, output = spec.input, spec.output

        def run_raw(self, batch: Any) -> Any:
            values = redness if len(batch) == len(redness) else np.zeros(len(batch))
            return np.clip(values, -128, 127).astype(np.int8)[:, None]

    golden_draw.write_engine_goldens(bundle, cells, Other(), "int8", spec.sha256)  # type: ignore[arg-type]
    faults.rehash(bundle)


def _another_models_keras_goldens(bundle: Path) -> None:
    cells = read_goldens(read_bundle(bundle).contents).cells
    golden_draw.write_goldens(
        bundle, cells, lambda x: x[..., 0].mean(axis=(1, 2)).astype(np.float32)
    )
    faults.rehash(bundle)


def _stored_inputs(prepare: Callable[[Any, Any, int], Any]) -> Plant:
    """The bundle was made by an installation that prepares crops in another way."""

    def plant(bundle: Path) -> None:
        goldens = read_goldens(read_bundle(bundle).contents)
        size = goldens.cells.inputs.shape[1]
        made = np.stack([prepare(*crop.decoded(), size) for crop in goldens.cells.crops])
        path = bundle / "golden" / "crops" / "inputs.npz"
        with np.load(path) as stored:
            names = stored["names"]
        np.savez(path, names=names, inputs=made)
        _restamp(bundle)

    return plant


def _restamp(bundle: Path) -> None:
    """Makes every golden output belong to the cells as they are now."""
    contents = faults.read_bundle_unchecked(bundle)
    sha256 = read_goldens(contents).cells.sha256
    for path in (bundle / "golden").glob("*.npz"):
        with np.load(path) as stored:
            values = dict(stored)
        if "cells_sha256" in values:
            np.savez(path, **{**values, "cells_sha256": np.array(sha256)})
    faults.rehash(bundle)


def _linear(crop: Any, mask: Any, size: int) -> Any:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    return cv2.resize(masked, (size, size), interpolation=cv2.INTER_LINEAR)


def _cropped(crop: Any, mask: Any, size: int) -> Any:
    masked = np.where(mask[:, :, None], crop, 0).astype(np.uint8)
    padded = np.zeros((max(size, masked.shape[0]), max(size, masked.shape[1]), 3), np.uint8)
    top, left = (padded.shape[0] - masked.shape[0]) // 2, (padded.shape[1] - masked.shape[1]) // 2
    padded[top : top + masked.shape[0], left : left + masked.shape[1]] = masked
    top, left = (padded.shape[0] - size) // 2, (padded.shape[1] - size) // 2
    return padded[top : top + size, left : left + size]


def _other_threshold(bundle: Path) -> None:
    record = faults.record_of(bundle)
    point = record["models"]["classifier"]["decision"]["operating_points"]["balanced"]
    point["threshold"] = min(0.95, point["threshold"] + 0.07)
    faults.rehash(bundle, record)


def _record_says(key: str, value: Any) -> Plant:
    """bundle.json itself is wrong about a tensor; the file is right."""

    def plant(bundle: Path) -> None:
        record = faults.record_of(bundle)
        for entry in record["models"]["classifier"]["variants"]["int8"]:
            entry["output"][key] = value
        faults.rehash(bundle, record)

    return plant


def _no_goldens_near(bundle: Path) -> None:
    path = bundle / "golden" / "cells.npz"
    with np.load(path) as stored:
        values = dict(stored)
    np.savez(path, **{**values, "near": np.zeros_like(values["near"])})
    faults.rehash(bundle)


def _few_goldens(bundle: Path) -> None:
    for name in [
        "cells",
        *[p.stem for p in (bundle / "golden").glob("*.npz") if p.stem != "cells"],
    ]:
        path = bundle / "golden" / f"{name}.npz"
        with np.load(path) as stored:
            values = dict(stored)
        for key in ("inputs", "near", "truth", "raw", "logits"):
            if key in values:
                values[key] = values[key][:40]
        np.savez(path, **values)
    _restamp(bundle)


def _nan_keras(bundle: Path) -> None:
    path = bundle / "golden" / "keras.npz"
    with np.load(path) as stored:
        values = dict(stored)
    np.savez(path, **{**values, "logits": np.full_like(values["logits"], np.nan)})
    faults.rehash(bundle)


FAULTS = (
    Fault("channels swapped, float32", _tflite(FLOAT, _swap_channels), ("red and blue swapped",)),
    Fault("channels swapped, int8", _tflite(INT8, _swap_channels), ("red and blue swapped",)),
    Fault(
        "channels swapped, onnx",
        _onnx("model.float32.onnx", _swap_channels_onnx),
        ("red and blue swapped",),
    ),
    Fault("1/255 twice, float32", _tflite(FLOAT, _rescaled(1 / 255)), ("1/255 applied twice",)),
    Fault("1/255 twice, int8", _tflite(INT8, _rescaled(1 / 255)), ("1/255 applied twice",)),
    Fault("1/255 missing, float32", _tflite(FLOAT, _rescaled(255.0)), ("1/255 missing",)),
    Fault("1/255 missing, int8", _tflite(INT8, _rescaled(255.0)), ("litert.int8", "[tensors]")),
    Fault("input zero point", _tflite(INT8, _shift_input_zero_point), ("wrong zero point",)),
    Fault("logits shifted", _shifted_logits, ("[tensors]", "wrong zero point", "steps")),
    Fault("zero point in ONNX", _wrong_zero_point_in_onnx_metadata, ("wrong zero point",)),
    Fault("output zero point recorded", _record_says("zero_point", 5), ("wrong zero point",)),
    Fault("output scale", _tflite(INT8, _double_output_scale), ("wrong scale",)),
    Fault("output scale recorded", _record_says("scale", 0.5), ("wrong scale",)),
    Fault("inner scale", _tflite(INT8, _halve_inner_scale), ("litert.int8", "[tensors]")),
    Fault("a layer zeroed, float32", _tflite(FLOAT, _zero_layer), ("all zero",)),
    Fault("a layer zeroed, int8", _tflite(INT8, _zero_layer), ("all zero",)),
    Fault("a layer zeroed, onnx int8", _onnx("model.int8.onnx", _zero_layer_onnx), ("all zero",)),
    Fault("NaN weight, float32", _tflite(FLOAT, _nan_weight), ("NaN weight",)),
    Fault("NaN weight, onnx", _onnx("model.float32.onnx", _nan_weight_onnx), ("NaN weight",)),
    Fault("NaN scale, int8", _tflite(INT8, _nan_scale), ("scale",)),
    Fault("weights lost", _weights_lost, ("weights lost in conversion",)),
    Fault("labels swapped in bundle.json", _labels_swapped, ("labels swapped",)),
    Fault("labels swapped in float32", _tflite(FLOAT, _negate_logit), ("labels swapped",)),
    Fault("labels swapped in int8", _tflite(INT8, _negate_logit), ("labels swapped",)),
    Fault("another model's int8 goldens", _another_models_engine_goldens, ("another model's",)),
    Fault("another model's Keras goldens", _another_models_keras_goldens, ("another model's",)),
    Fault("INTER_LINEAR in the bundle", _stored_inputs(_linear), ("INTER_LINEAR in place of",)),
    Fault("crop in the bundle", _stored_inputs(_cropped), ("a crop instead of a resize",)),
    Fault("threshold of another variant", _other_threshold, ("threshold of another variant",)),
    Fault("dynamic named int8", _dynamic_under_the_name_of_int8, ("dynamic", "int8")),
    Fault("float32 ONNX named int8", _float_onnx_under_the_name_of_int8, ("float32", "int8")),
    Fault("per-tensor collapse", _tflite(INT8, _per_tensor_collapse), ("per-tensor collapse",)),
    Fault("no cells near the threshold", _no_goldens_near, ("too few cells near",)),
    Fault("forty goldens", _few_goldens, ("too few cells",)),
    Fault("NaN in Keras's goldens", _nan_keras, ("Keras's outputs",)),
)


def _messages(report: ParityReport) -> list[str]:
    return [failure.message for failure in report.all_failures()]


def test_the_honest_bundle_passes(shipped_bundle: Path, tmp_path: Path) -> None:
    bundle = faults.copy_bundle(shipped_bundle, tmp_path / "bundle")
    faults.record_again(bundle)
    report = gate(bundle)
    assert _messages(report) == []
    assert report.passed


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault_is_refused_and_named(fault: Fault, shipped_bundle: Path, tmp_path: Path) -> None:
    bundle = faults.copy_bundle(shipped_bundle, tmp_path / "bundle")
    fault.plant(bundle)
    report = gate(bundle)
    assert not report.passed
    messages = _messages(report)
    named = [message for message in messages if all(word in message for word in fault.words)]
    assert named, "\n".join(messages)


def test_weights_lost_in_conversion_are_refused(
    tiny_keras: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The real trap: a converter call that drops the weights of Keras 3 models silently."""
    import tensorflow as tf

    from edge_malaria.keras_layers import load_model, strip_fake_quant

    model = strip_fake_quant(load_model(tiny_keras))
    concrete = tf.function(model).get_concrete_function(tf.TensorSpec((1, 48, 48, 3), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    bundle = faults.copy_bundle(tiny_bundle, tmp_path / "bundle")
    data = bytes(converter.convert())
    (bundle / FLOAT).write_bytes(data)
    faults.record_again(bundle)
    report = gate(bundle)
    assert not report.passed
    named = [m for m in _messages(report) if "litert.float32" in m]
    assert any("weights lost in conversion" in message for message in named), named


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "return area_resize(masked, size_px)",
            "return cv2.resize(masked, (size_px, size_px), interpolation=cv2.INTER_LINEAR)",
            "INTER_LINEAR in place",
        ),
        (
            "return area_resize(masked, size_px)",
            "resized = np.zeros((size_px, size_px, 3), np.uint8); "
            "part = masked[:size_px, :size_px]; "
            "resized[: part.shape[0], : part.shape[1]] = part; return resized",
            "crop instead of a resize",
        ),
        ("masked = apply_mask(crop, mask)", "masked = crop", "no mask applied"),
    ],
    ids=["INTER_LINEAR", "crop", "no mask"],
)
def test_faults_of_the_installed_preprocessing_are_refused(
    old: str, new: str, words: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    """The bundle is honest; the code on this machine is not: its source file is edited."""
    import shutil

    package = Path(edge_malaria.__file__).parent
    shutil.copytree(
        package, tmp_path / "edge_malaria", ignore=shutil.ignore_patterns("models", "__pycache__")
    )
    source = tmp_path / "edge_malaria" / "preprocess.py"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    done = subprocess.run(
        [sys.executable, "-m", "edge_malaria.cli.app", "parity", str(tiny_bundle)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "[files]" in done.stderr
    assert words in done.stderr
