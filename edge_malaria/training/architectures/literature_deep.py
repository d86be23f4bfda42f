"""Deep networks of the studies before this one, under ``--arch``: random weights, one logit.

What keras.applications has comes from there (``weights=None, include_top=False``) with this
project's momentum of batch norms and ends in a global mean and one dense unit. Convolutions with
nothing but a rectifier behind them start as He et al. proposed (arXiv 1502.01852): with Keras's own
start the signal halves in each layer, and thirteen of them learn nothing for long. Input and output
are as in ``literature``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures.literature import at_least, scaled_input
from edge_malaria.training.architectures.registry import BN_MOMENTUM, conv_unit, register


def _from_application(
    name: str, make: Callable[..., Any], size: int, least: int, scale_behind: str = ""
) -> Any:
    """A body of keras.applications with 1/255 in front and one logit behind.

    Args:
        name: of the model.
        make: keras.applications' function.
        size: input side, px.
        least: smallest input side, px.
        scale_behind: the padding layer that the Rescaling comes after instead of before, so that
            it stands directly before a convolution, into which it can be folded. Pads are 0.
    """
    at_least(name, size, least)
    body = make(include_top=False, weights=None, input_shape=(size, size, 3))
    rectified = {
        layer.name
        for layer in body.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.get_config()["activation"] == "relu"
    }
    scale = keras.layers.Rescaling(1.0 / 255.0, name="scale")

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in rectified:
            config["activation"] = "linear"
            config["kernel_initializer"] = keras.initializers.HeNormal()
        if isinstance(layer, keras.layers.BatchNormalization):
            config["momentum"] = BN_MOMENTUM
        return type(layer).from_config(config)

    first = body.layers[1].name

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name == first and not scale_behind:
            args = (scale(args[0]), *args[1:])
        output = layer(*args, **kwargs)
        if layer.name == scale_behind:
            output = scale(output)
        if layer.name in rectified:
            output = keras.layers.ReLU(name=f"{layer.name}_relu")(output)
        return output

    scaled = keras.models.clone_model(body, clone_function=clone, call_function=call)
    return keras.Model(scaled.input, mean_logit(scaled.output), name=name)


def mean_logit(x: Any) -> Any:
    """Global mean, one dense unit: [N, H, W, C] -> [N, 1]."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dense(1, name="logit")(x)


@register("vgg16", 224, "VGG-16 of 2014, global mean on top")
def vgg16(size: int) -> Any:
    """VGG-16.

    Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", arXiv
    1409.1556; for malaria cells in Rajaraman et al., PeerJ 6:e4568, 2018.

    Raises:
        UsageError: ``size`` < 32 px.
    """
    return _from_application("vgg16", keras.applications.VGG16, size, 32)


@register("resnet50", 224, "ResNet-50 of 2015")
def resnet50(size: int) -> Any:
    """ResNet-50.

    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", arXiv 1512.03385; the best
    feature extractor of Rajaraman et al., PeerJ 6:e4568, 2018.

    Raises:
        UsageError: ``size`` < 32 px.
    """
    return _from_application("resnet50", keras.applications.ResNet50, size, 32, "conv1_pad")


@register("densenet121", 224, "DenseNet-121 of 2016")
def densenet121(size: int) -> Any:
    """DenseNet-121.

    Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks", arXiv
    1608.06993; for malaria cells in Rajaraman et al., PeerJ 6:e4568, 2018.

    Its batch norms come before the convolutions: they cannot be folded.

    Raises:
        UsageError: ``size`` < 32 px.
    """
    return _from_application("densenet121", keras.applications.DenseNet121, size, 32)


@register("xception", 299, "Xception of 2016")
def xception(size: int) -> Any:
    """Xception.

    Chollet, "Xception: deep learning with depthwise separable convolutions", arXiv 1610.02357; for
    malaria cells in Rajaraman et al., PeerJ 6:e4568, 2018.

    Raises:
        UsageError: ``size`` < 71 px.
    """
    return _from_application("xception", keras.applications.Xception, size, 71)


# Table 1 of Szegedy et al.: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection.
INCEPTIONS: tuple[tuple[str, tuple[int, int, int, int, int, int]], ...] = (
    ("3a", (64, 96, 128, 16, 32, 32)),
    ("3b", (128, 128, 192, 32, 96, 64)),
    ("4a", (192, 96, 208, 16, 48, 64)),
    ("4b", (160, 112, 224, 24, 64, 64)),
    ("4c", (128, 128, 256, 24, 64, 64)),
    ("4d", (112, 144, 288, 32, 64, 64)),
    ("4e", (256, 160, 320, 32, 128, 128)),
    ("5a", (256, 160, 320, 32, 128, 128)),
    ("5b", (384, 192, 384, 48, 128, 128)),
)


def _inception(x: Any, name: str, widths: Sequence[int]) -> Any:
    one, three_in, three, five_in, five, projected = widths
    pooled = keras.layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x)
    branches = [
        conv_unit(x, one, f"{name}_1x1", 1),
        conv_unit(conv_unit(x, three_in, f"{name}_3x3_reduce", 1), three, f"{name}_3x3"),
        conv_unit(conv_unit(x, five_in, f"{name}_5x5_reduce", 1), five, f"{name}_5x5", 5),
        conv_unit(pooled, projected, f"{name}_pool_proj", 1),
    ]
    return keras.layers.Concatenate(name=f"{name}_concat")(branches)


@register("googlenet", 224, "GoogLeNet (inception) of 2014 with batch norms")
def googlenet(size: int) -> Any:
    """GoogLeNet.

    Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842, table 1; for malaria cells in
    Dong et al., IEEE BHI 2017.

    Batch norms (Ioffe, Szegedy, arXiv 1502.03167) stand for local response normalisation and for
    the two auxiliary outputs.

    Raises:
        UsageError: ``size`` < 32 px.
    """
    at_least("googlenet", size, 32)
    inputs, x = scaled_input(size)
    x = conv_unit(x, 64, "c1", 7, stride=2)
    x = keras.layers.MaxPooling2D(3, 2, "same", name="c1_pool")(x)
    x = conv_unit(conv_unit(x, 64, "c2_reduce", 1), 192, "c2")
    x = keras.layers.MaxPooling2D(3, 2, "same", name="c2_pool")(x)
    for name, widths in INCEPTIONS:
        x = _inception(x, f"inception_{name}", widths)
        if name in ("3b", "4e"):
            x = keras.layers.MaxPooling2D(3, 2, "same", name=f"inception_{name}_out_pool")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(0.4, name="dropout")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="logit")(x), name="googlenet")


SQUEEZE_RATIO = 16  # Hu et al., section 6.4
SENET_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def _squeeze_excite(x: Any, name: str) -> Any:
    channels = int(x.shape[-1])
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    weights = keras.layers.Conv2D(channels // SQUEEZE_RATIO, 1, name=f"{name}_reduce")(weights)
    weights = keras.layers.ReLU(name=f"{name}_reduce_relu")(weights)
    weights = keras.layers.Conv2D(channels, 1, name=f"{name}_expand")(weights)
    weights = keras.layers.Activation("sigmoid", name=f"{name}_excite")(weights)
    return keras.layers.Multiply(name=f"{name}_scale")([x, weights])


def _residual(x: Any, filters: int, stride: int, name: str) -> Any:
    """Two 3x3 convolutions, squeeze-and-excitation, and the way around them."""
    shortcut = x
    if stride != 1 or int(x.shape[-1]) != filters:
        project = keras.layers.Conv2D(filters, 1, stride, use_bias=False, name=f"{name}_skip_conv")
        norm = keras.layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_skip_bn")
        shortcut = norm(project(x))
    x = conv_unit(x, filters, f"{name}_a", stride=stride)
    last = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_b_conv")
    x = keras.layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_b_bn")(last(x))
    x = keras.layers.Add(name=f"{name}_add")([_squeeze_excite(x, f"{name}_se"), shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


@register("senet", 224, "SE-ResNet-18: residual network with squeeze-and-excitation")
def senet(size: int) -> Any:
    """SE-ResNet-18.

    Hu, Shen, Sun, "Squeeze-and-excitation networks", arXiv 1709.01507, in the residual network of
    18 layers of He et al., arXiv 1512.03385.

    Raises:
        UsageError: ``size`` < 32 px.
    """
    at_least("senet", size, 32)
    inputs, x = scaled_input(size)
    x = conv_unit(x, 64, "stem", 7, stride=2)
    x = keras.layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)
    for stage, (filters, stride) in enumerate(SENET_STAGES, start=1):
        x = _residual(x, filters, stride, f"stage{stage}a")
        x = _residual(x, filters, 1, f"stage{stage}b")
    return keras.Model(inputs, mean_logit(x), name="senet")
