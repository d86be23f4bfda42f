"""Small networks of the studies before this one, under ``--arch``.

All keep the project's contract: float32 [N, S, S, 3] of pixel values 0-255 (RGB) -> one logit
[N, 1], scaling by 1/255 inside. Activations are layers of their own, never fused into a
convolution, so that fine-tuning with int8 rounding (``training.fold``) can put its ranges behind
them. The deep ones are in ``literature_deep``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import keras
from edge_malaria.training.architectures.registry import BN_MOMENTUM, register


def at_least(name: str, size: int, least: int) -> None:
    """Refuses an input side that the network's pooling would shrink to nothing.

    Raises:
        UsageError: ``size`` < ``least`` px.
    """
    if not (size >= least):
        raise UsageError(f"{name}: expected an input side of at least {least} px, got {size}.")


def scaled_input(size: int) -> tuple[Any, Any]:
    """(input, input / 255), float32 [N, S, S, 3]."""
    inputs = keras.Input((size, size, 3), name="cell")
    return inputs, keras.layers.Rescaling(1.0 / 255.0, name="scale")(inputs)


def conv_relu(
    x: Any, filters: int, name: str, kernel: int = 3, stride: int = 1, padding: str = "valid"
) -> Any:
    """Convolution with bias, then ReLU: [N, H, W, C] -> [N, H', W', filters]."""
    x = keras.layers.Conv2D(filters, kernel, stride, padding, name=f"{name}_conv")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def dense_top(x: Any, widths: Sequence[int], dropout: float) -> Any:
    """Flatten, dense layers with ReLU and dropout, one logit: [N, H, W, C] -> [N, 1]."""
    x = keras.layers.Flatten(name="flatten")(x)
    for index, width in enumerate(widths, start=1):
        x = keras.layers.Dense(width, name=f"dense{index}")(x)
        x = keras.layers.ReLU(name=f"dense{index}_relu")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dense{index}_dropout")(x)
    return keras.layers.Dense(1, name="logit")(x)


@register("sequential3", 128, "three convolutions and two dense layers, 826,529 parameters")
def sequential3(size: int) -> Any:
    """Three convolutions and two dense layers: the network that this project grew from.

    Conv16 - pool - dropout .2 - Conv32 - pool - dropout .3 - Conv64 - pool - dropout .3 - Dense64 -
    dropout .5 - Dense1, kernels 3x3 without padding: 826,529 parameters at 128 px. In its study
    it is trained with Adam in batches of 16 for at most 20 epochs, stopping when the validation
    loss has not improved for 2.

    Raises:
        UsageError: ``size`` < 22 px.
    """
    at_least("sequential3", size, 22)
    inputs, x = scaled_input(size)
    for index, (filters, dropout) in enumerate(((16, 0.2), (32, 0.3), (64, 0.3)), start=1):
        x = conv_relu(x, filters, f"block{index}")
        x = keras.layers.MaxPooling2D(2, name=f"block{index}_pool")(x)
        x = keras.layers.Dropout(dropout, name=f"block{index}_dropout")(x)
    return keras.Model(inputs, dense_top(x, (64,), 0.5), name="sequential3")


@register("lenet5", 32, "LeNet-5 of 1998 with ReLU")
def lenet5(size: int) -> Any:
    """LeNet-5.

    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc.
    IEEE 86(11), 1998; for malaria cells in Dong et al., IEEE BHI 2017.

    Two 5x5 convolutions (6, 16), each followed by 2x2 averaging, then dense 120 and 84. ReLU stands
    for the scaled tanh, and every map of the second convolution sees all of the first.

    Raises:
        UsageError: ``size`` < 16 px.
    """
    at_least("lenet5", size, 16)
    inputs, x = scaled_input(size)
    for index, filters in enumerate((6, 16), start=1):
        x = conv_relu(x, filters, f"c{index}", kernel=5)
        x = keras.layers.AveragePooling2D(2, name=f"c{index}_pool")(x)
    return keras.Model(inputs, dense_top(x, (120, 84), 0.0), name="lenet5")


@register("alexnet", 227, "AlexNet of 2012 in one column")
def alexnet(size: int) -> Any:
    """AlexNet.

    Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural
    networks", NeurIPS 2012; for malaria cells in Dong et al., IEEE BHI 2017.

    One column instead of two half ones on two cards, and no local response normalisation: neither
    has a place in an int8 file.

    Raises:
        UsageError: ``size`` < 67 px.
    """
    at_least("alexnet", size, 67)
    inputs, x = scaled_input(size)
    x = conv_relu(x, 96, "c1", kernel=11, stride=4)
    x = keras.layers.MaxPooling2D(3, 2, name="c1_pool")(x)
    x = conv_relu(x, 256, "c2", kernel=5, padding="same")
    x = keras.layers.MaxPooling2D(3, 2, name="c2_pool")(x)
    for index, filters in enumerate((384, 384, 256), start=3):
        x = conv_relu(x, filters, f"c{index}", padding="same")
    x = keras.layers.MaxPooling2D(3, 2, name="c5_pool")(x)
    return keras.Model(inputs, dense_top(x, (4096, 4096), 0.5), name="alexnet")


@register("liang16", 44, "16-layer CNN of Liang et al., 2016, reconstructed")
def liang16(size: int) -> Any:
    """The 16-layer CNN on 44 px cells.

    Liang et al., "CNN-based image analysis for malaria diagnosis", IEEE BIBM 2016.

    A reconstruction: the input side and the number of layers are the paper's; kernels and widths
    are chosen here. The 16, in the paper's way of counting pooling and dense layers as layers:
    input, six convolutions in pairs, three poolings (two maxima, one mean), a batch norm at the
    first convolution, flatten, three dense layers, output decision.

    Raises:
        UsageError: ``size`` < 8 px.
    """
    at_least("liang16", size, 8)
    inputs, x = scaled_input(size)
    for stage, filters in enumerate((32, 64, 128), start=1):
        for part in "ab":
            name = f"c{stage}{part}"
            x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
            if name == "c1a":
                x = keras.layers.BatchNormalization(momentum=BN_MOMENTUM, name=f"{name}_bn")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        pool = keras.layers.AveragePooling2D if stage == 3 else keras.layers.MaxPooling2D
        x = pool(2, name=f"c{stage}_pool")(x)
    return keras.Model(inputs, dense_top(x, (256, 256), 0.5), name="liang16")


@register("fast50", 50, "small CNN on 50 px cells: three convolutions, dense 500")
def fast50(size: int) -> Any:
    """The small CNN on cells shrunk to 50x50 that quick studies of the NIH set use.

    2x2 kernels in 16, 32 and 64 filters, each with 2x2 pooling; dropout; dense 500.

    No single paper defines it; the data set is that of Rajaraman et al., PeerJ 6:e4568, 2018.

    Raises:
        UsageError: ``size`` < 8 px.
    """
    at_least("fast50", size, 8)
    inputs, x = scaled_input(size)
    for index, filters in enumerate((16, 32, 64), start=1):
        x = conv_relu(x, filters, f"block{index}", kernel=2, padding="same")
        x = keras.layers.MaxPooling2D(2, name=f"block{index}_pool")(x)
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(inputs, dense_top(x, (500,), 0.2), name="fast50")
