"""Custom Keras layers, registered once; training and the converters load models through here.

A quantization-aware model carries its activation ranges in ``FakeQuant`` layers, so int8 needs no
calibration data::

    converter = tf.lite.TFLiteConverter.from_keras_model(load_model(path))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    data = converter.convert()          # no representative_dataset

(without ``target_spec.supported_ops``: TFLITE_BUILTINS_INT8 insists on a representative data set)
gives an all-int8 file with weights quantized per channel and, because the range behind the input
is fixed at [0, 255], an input of scale 1.0 and zero point -128: the int8 input is pixel - 128.
Float exports and the float reference come from ``strip_fake_quant(model)``.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

# TensorFlow writes its start-up notes to stderr, where a user reads our errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from edge_malaria import keras_settings
from edge_malaria.errors import MissingExtra, ModelFileError

try:
    import keras
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtra("Keras", "export") from error

# Registers the layers of the studies' preprocessing, so that a file that holds them can be loaded.
from edge_malaria import keras_inputs as keras_inputs

keras_settings.settle(keras)

__all__ = [
    "PIXEL_RANGE",
    "FakeQuant",
    "fake_quant_layers",
    "has_ranges",
    "keras",
    "keras_inputs",
    "load_model",
    "strip_fake_quant",
]

PACKAGE = "edge_malaria"
PIXEL_RANGE = (0.0, 255.0)
# A .keras file of zeros alone unpacks to a thousand times its size; a trained one to little more.
MAX_PACKED_GROWTH = 20
MAX_SMALL_BYTES = 64 << 20


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuant(keras.layers.Layer):  # type: ignore[misc]
    """Rounds activations to the 256 steps of a stored range, as the int8 network will.

    The range is a pair of non-trainable weights. During training (``training=True``) and while
    ``observing`` it follows the batches' minimum and maximum by a moving average; at inference it
    is fixed. A range always contains 0, which int8 must represent exactly.

    Args:
        low, high: the initial range; with ``fixed`` it never moves.
        fixed: for ranges known beforehand, such as pixels.
        momentum: share of the old range kept at each batch while observing.
    """

    def __init__(
        self,
        low: float = 0.0,
        high: float = 6.0,
        *,
        fixed: bool = False,
        momentum: float = 0.98,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.initial = (float(low), float(high))
        self.fixed = fixed
        self.momentum = momentum
        self.observing = not fixed

    def build(self, input_shape: Any) -> None:
        """Creates the two scalars of the range."""
        del input_shape
        low, high = self.initial
        self.low = self._scalar("low", low)
        self.high = self._scalar("high", high)
        self.built = True

    def _scalar(self, name: str, value: float) -> Any:
        initializer = keras.initializers.Constant(value)
        return self.add_weight(name=name, shape=(), initializer=initializer, trainable=False)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Rounds ``inputs``; shape and dtype stay."""
        if training and self.observing and not isinstance(inputs, keras.KerasTensor):
            self._observe(inputs)
        return keras.quantizers.fake_quant_with_min_max_vars(
            inputs, self.low.value, self.high.value, num_bits=8, narrow_range=False
        )

    def _observe(self, inputs: Any) -> None:
        low = keras.ops.minimum(keras.ops.min(inputs), 0.0)
        high = keras.ops.maximum(keras.ops.max(inputs), 1e-6)
        keep = self.momentum
        self.low.assign(keep * self.low + (1.0 - keep) * keras.ops.stop_gradient(low))
        self.high.assign(keep * self.high + (1.0 - keep) * keras.ops.stop_gradient(high))

    def set_range(self, low: float, high: float) -> None:
        """Stores a measured range; ``low`` <= 0 < ``high``.

        Raises:
            ValueError: the range does not contain 0 or is empty or not finite.
        """
        if not (low <= 0.0 < high < float("inf") and low > float("-inf")):
            raise ValueError(f"expected a finite range with low <= 0 < high, got [{low}, {high}]")
        self.low.assign(low)
        self.high.assign(high)

    @property
    def range(self) -> tuple[float, float]:
        """(low, high) as stored."""
        return float(self.low), float(self.high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What ``from_config`` needs."""
        low, high = self.initial
        return {
            **super().get_config(),
            "low": low,
            "high": high,
            "fixed": self.fixed,
            "momentum": self.momentum,
        }


def load_model(path: Path | str) -> Any:
    """Loads a .keras file in safe mode, without its optimizer.

    Returns:
        A ``keras.Model``.

    Raises:
        ModelFileError: missing, corrupt, unknown layers, or a Lambda layer (which is code).
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"model file {path} does not exist.")
    if not zipfile.is_zipfile(path):
        raise ModelFileError(f"{path} is not a .keras file or is damaged. Train or fetch it again.")
    try:
        config = _config_text(path)
        if '"Lambda"' in config:
            raise ModelFileError(f"{path} holds a Lambda layer, which is code: refused.")
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except ModelFileError:
        raise
    # Keras raises many kinds for a damaged or unknown file; the reason's first line says which.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelFileError(f"{path} cannot be loaded ({reason}).") from error


def _config_text(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        # Weights hardly shrink when they are packed; what grows so much is made to fill the memory.
        if not (size <= max(MAX_PACKED_GROWTH * path.stat().st_size, MAX_SMALL_BYTES)):
            raise ModelFileError(f"{path} unpacks to {size >> 20} MB: it is no model.")
        damaged = archive.testzip()
        if damaged is not None:
            raise ModelFileError(f"{path} is damaged ({damaged}).")
        return archive.read("config.json").decode("utf-8")


def fake_quant_layers(model: Any) -> list[FakeQuant]:
    """The model's range layers, in order."""
    return [layer for layer in model.layers if isinstance(layer, FakeQuant)]


def has_ranges(model: Any) -> bool:
    """Whether int8 ranges travel in the model: its input and every later FakeQuant have one.

    True only where the input is followed by a FakeQuant of [0, 255] and the output comes out of
    one; a model with some of its ranges missing would convert to a partly float file.
    """
    layers = fake_quant_layers(model)
    if not layers or layers[0].range != PIXEL_RANGE:
        return False
    return isinstance(model.layers[-1], FakeQuant)


def strip_fake_quant(model: Any) -> Any:
    """The same network without FakeQuant layers: plain float Keras, weights copied.

    Returns:
        A new ``keras.Model``; ``model`` stays as it is.
    """

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return args[0] if isinstance(layer, FakeQuant) else layer(*args, **kwargs)

    plain = keras.models.clone_model(model, call_function=call)
    sources = {layer.name: layer for layer in model.layers}
    for layer in plain.layers:
        if layer.weights:  # an input layer may come back under another name
            layer.set_weights(sources[layer.name].get_weights())
    return plain
