"""Weights that a network starts from: ImageNet's of keras.applications, or another .keras file.

The ImageNet networks were trained on inputs prepared in other ways than pixels / 255 (BGR less a
mean, or standardised). That preparation is linear, so it is folded into the first convolution:
the device's contract stays as it is. Only at the border of the picture, where pads stand for the
mean colour there and for black here, the first features differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.errors import EnvironmentProblem, ModelFileError, UsageError
from edge_malaria.keras_layers import keras, load_model, strip_fake_quant

Floats = NDArray[np.float64]
IMAGENET = "imagenet"
# Mean of ImageNet in RGB, in grey levels (caffe) and as shares with its spread (torch):
# keras.applications.imagenet_utils.preprocess_input.
CAFFE_MEAN = (123.68, 116.779, 103.939)
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_SPREAD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Application:
    """A network of keras.applications and how it wants its input.

    Attributes:
        make: keras.applications' function.
        first: its first convolution.
        norm: the batch norm behind it, which takes the shift where the convolution has no bias.
        gain: factor on a pixel 0-255, by colour RGB.
        offset: added after that.
        reversed: whether its channels are BGR.
    """

    make: Callable[..., Any]
    first: str
    norm: str | None
    gain: tuple[float, float, float]
    offset: tuple[float, float, float]
    reversed: bool = False


def _caffe(make: Callable[..., Any], first: str) -> Application:
    away = tuple(-mean for mean in CAFFE_MEAN)
    return Application(make, first, None, (1.0, 1.0, 1.0), (away[0], away[1], away[2]), True)


def applications() -> dict[str, Application]:
    """The architectures that ImageNet weights exist for."""
    apps = keras.applications
    gain = tuple(1.0 / 255.0 / spread for spread in TORCH_SPREAD)
    offset = tuple(-mean / spread for mean, spread in zip(TORCH_MEAN, TORCH_SPREAD, strict=True))
    tf_gain, tf_offset = (1.0 / 127.5,) * 3, (-1.0,) * 3
    return {
        "vgg16": _caffe(apps.VGG16, "block1_conv1"),
        "resnet50": _caffe(apps.ResNet50, "conv1_conv"),
        "densenet121": Application(
            apps.DenseNet121,
            "conv1_conv",
            "conv1_bn",
            (gain[0], gain[1], gain[2]),
            (offset[0], offset[1], offset[2]),
        ),
        "xception": Application(
            apps.Xception, "block1_conv1", "block1_conv1_bn", tf_gain, tf_offset
        ),
    }


def load_weights(model: Any, arch: str, source: str) -> int:
    """Starts ``model`` from ``source``; returns how many layers took weights.

    Args:
        model: fresh from ``build(arch)``.
        arch: its architecture.
        source: ``imagenet`` (fetched by Keras into its own cache), a .h5 file of the same
            keras.applications weights without top, or a .keras file with layers of the same names
            and shapes (``pretrain`` writes one).

    Raises:
        UsageError: there are no ImageNet weights for ``arch``, or nothing fits.
        EnvironmentProblem: they cannot be fetched.
        ModelFileError: the file is missing or damaged.
    """
    if source == IMAGENET or Path(source).suffix == ".h5":
        return _from_application(model, arch, source)
    return copy_matching(strip_fake_quant(load_model(source)), model, source)


def copy_matching(source: Any, target: Any, name: str) -> int:
    """Copies the weights of layers with one name and one shape; returns how many.

    Raises:
        UsageError: none fits.
    """
    layers = {layer.name: layer for layer in source.layers}
    copied = 0
    for layer in target.layers:
        found = layers.get(layer.name)
        if found is None or not layer.weights:
            continue
        shapes = [tuple(weight.shape) for weight in found.weights]
        if shapes == [tuple(weight.shape) for weight in layer.weights]:
            layer.set_weights(found.get_weights())
            copied += 1
    if copied == 0:
        raise UsageError(f"{name}: no layer fits {target.name} by name and shape.")
    return copied


def _from_application(model: Any, arch: str, source: str) -> int:
    known = applications()
    if arch not in known:
        raise UsageError(f"no ImageNet weights for {arch!r}: expected one of {sorted(known)}.")
    application = known[arch]
    if source != IMAGENET and not Path(source).is_file():
        raise ModelFileError(f"weights file {source} does not exist.")
    try:
        body = application.make(
            include_top=False, weights=source, input_shape=model.input.shape[1:]
        )
    # Keras raises many kinds for a network that is away and for a damaged file.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        if source == IMAGENET:
            raise EnvironmentProblem(
                f"ImageNet weights of {arch} cannot be fetched ({reason}). They are optional: "
                "leave out --weights, or give a file with --weights FILE.h5."
            ) from error
        raise ModelFileError(f"{source} is no weights file of {arch} ({reason}).") from error
    adapt_input(body, application)
    return copy_matching(body, model, source)


def adapt_input(body: Any, application: Application) -> None:
    """Changes the first convolution of ``body`` in place so that it takes pixels / 255 in RGB."""
    layer = body.get_layer(application.first)
    kernel, *rest = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    kernel = kernel[:, :, ::-1, :] if application.reversed else kernel
    offset, gain = np.array(application.offset), np.array(application.gain)
    shift = np.einsum("hwco,c->o", kernel, offset)
    scaled = kernel * (255.0 * gain)[None, None, :, None]
    if rest:
        layer.set_weights([scaled, rest[0] + shift])
        return
    layer.set_weights([scaled])
    norm = body.get_layer(str(application.norm))
    names = [weight.name for weight in norm.weights]
    values = [np.asarray(weight, np.float64) for weight in norm.get_weights()]
    place = names.index("moving_mean")
    values[place] = values[place] - shift
    norm.set_weights(values)
