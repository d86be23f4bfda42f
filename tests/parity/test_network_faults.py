"""Faults planted in model files are refused, with a message that names cause or stage.

Each fault edits files from outside (``faults.py``) and records them again as a faulty export
would, so neither a hash nor a stale golden gives it away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.parity import gate
from tests.parity import faults
from tests.parity.faults import FLOAT, INT8, Fault, Plant


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


FAULTS = (
    Fault("channels swapped, float32", _tflite(FLOAT, _swap_channels), ("red and blue swapped",)),
    Fault(
        "channels swapped, int8",
        _tflite(INT8, _swap_channels),
        ("red and blue swapped",),
        "default",
    ),
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
    Fault("output scale", _tflite(INT8, _double_output_scale), ("wrong scale",)),
    Fault("inner scale", _tflite(INT8, _halve_inner_scale), ("litert.int8", "[tensors]")),
    Fault("a layer zeroed, float32", _tflite(FLOAT, _zero_layer), ("all zero",)),
    Fault("a layer zeroed, int8", _tflite(INT8, _zero_layer), ("all zero",)),
    Fault("a layer zeroed, onnx int8", _onnx("model.int8.onnx", _zero_layer_onnx), ("all zero",)),
    Fault("NaN weight, float32", _tflite(FLOAT, _nan_weight), ("NaN weight",)),
    Fault("NaN weight, onnx", _onnx("model.float32.onnx", _nan_weight_onnx), ("NaN weight",)),
    Fault("NaN scale, int8", _tflite(INT8, _nan_scale), ("scale",)),
    Fault("weights lost", _weights_lost, ("weights lost in conversion",)),
    Fault("labels swapped in float32", _tflite(FLOAT, _negate_logit), ("labels swapped",)),
    Fault("labels swapped in int8", _tflite(INT8, _negate_logit), ("labels swapped",)),
    Fault("dynamic named int8", _dynamic_under_the_name_of_int8, ("dynamic", "int8")),
    Fault("float32 ONNX named int8", _float_onnx_under_the_name_of_int8, ("float32", "int8")),
    Fault("per-tensor collapse", _tflite(INT8, _per_tensor_collapse), ("per-tensor collapse",)),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_fault_is_refused_and_named(fault: Fault, tmp_path: Path) -> None:
    faults.assert_refused(fault, tmp_path / "bundle")


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
    report = gate(bundle, finder=False)
    assert not report.passed
    named = [m for m in faults.messages(report) if "litert.float32" in m]
    assert any("weights lost in conversion" in message for message in named), named
