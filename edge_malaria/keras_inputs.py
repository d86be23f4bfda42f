"""Preprocessing of the studies as layers of the network: pixels 0-255 in, pixels' scale out.

Inside the graph they travel with every exported file, and the device's contract stays "uint8
pixels in". Each gives values around 0 with the spread of ordinary pixels (``SPREAD``), so that the
network's own scaling by 1/255 follows unchanged. All are built of means, products and
convolutions, which every engine has.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

PACKAGE = "edge_malaria"
# Standard deviation, in grey levels, that normalised pixels are brought to: about that of cells.
SPREAD = 64.0


@keras.saving.register_keras_serializable(PACKAGE)
class PerImageCentering(keras.layers.Layer):  # type: ignore[misc]
    """Takes each picture's mean colour away: [N, H, W, 3] -> the same shape, mean 0 a channel."""

    contract_name = "centre-per-image"

    def call(self, inputs: Any) -> Any:
        """``inputs`` less their mean over the picture."""
        return inputs - keras.ops.mean(inputs, axis=(1, 2), keepdims=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape


@keras.saving.register_keras_serializable(PACKAGE)
class LocalContrastNormalization(keras.layers.Layer):  # type: ignore[misc]
    """Brightness and contrast made equal from place to place, per channel.

    (x - local mean) / sqrt(local variance + floor^2) x ``SPREAD``; local is a square of ``window``
    px. Jarrett et al., "What is the best multi-stage architecture for object recognition?", ICCV
    2009, with a square in place of their Gaussian.

    Args:
        window: side of the square, px, odd.
        floor: contrast, in grey levels, below which nothing is amplified.
    """

    contract_name = "local-contrast-normalization"

    def __init__(self, window: int = 9, floor: float = 8.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not (window >= 3 and window % 2 == 1 and floor > 0):
            raise ValueError(f"expected an odd window >= 3 and floor > 0, got {window}, {floor}")
        self.window = window
        self.floor = floor

    def _blurred(self, values: Any) -> Any:
        return keras.ops.average_pool(values, self.window, strides=1, padding="same")

    def call(self, inputs: Any) -> Any:
        """Normalises; shape and dtype stay."""
        # In units of the spread: int8 has the same 256 steps for a variance of any unit.
        values = inputs / SPREAD
        away = values - self._blurred(values)
        variance = self._blurred(away * away) + (self.floor / SPREAD) ** 2
        return away * keras.ops.rsqrt(variance) * SPREAD

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What ``from_config`` needs."""
        return {**super().get_config(), "window": self.window, "floor": self.floor}


@keras.saving.register_keras_serializable(PACKAGE)
class Whitening(keras.layers.Conv2D):  # type: ignore[misc]
    """Neighbouring pixels and colours made uncorrelated, as one fixed convolution 3 -> 3 channels.

    ZCA by eigenvalue decomposition of the covariance of small patches (``zca_kernel``): the row of
    the whitening matrix that belongs to the patch's centre is the same filter at every place.
    Whitening whole 48 x 48 pictures would take a matrix of 48 million numbers.
    """

    contract_name = "whitening"

    def __init__(self, kernel_size: Any = 5, **kwargs: Any) -> None:
        fixed = {"filters": 3, "padding": "same", "use_bias": True, "trainable": False}
        super().__init__(kernel_size=kernel_size, **{**kwargs, **fixed})

    def fit(self, images: NDArray[np.uint8], seed: int = 0) -> None:
        """Sets the filter from training pictures, uint8 [N, S, S, 3]; the layer must be built."""
        self.set_weights(list(zca_kernel(images, int(self.kernel_size[0]), seed=seed)))


PATCHES = 40_000
# Share of the mean eigenvalue added to each: directions that hold only noise are not blown up.
REGULARIZATION = 0.01
WEIGHT_STEPS = 127.0


def zca_kernel(
    images: NDArray[np.uint8], side_px: int = 5, *, patches: int = PATCHES, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(kernel [k, k, 3, 3], bias [3]) of ``Whitening``, from patches of training pictures.

    Args:
        images: uint8 [N, S, S, 3], S >= ``side_px``.
        side_px: k, odd.
        patches: how many are drawn, only where the centre is not black background.
        seed: of the draw.

    Raises:
        ValueError: no patch can be drawn.
    """
    rng = np.random.default_rng(seed)
    side = images.shape[1]
    if not (len(images) > 0 and side >= side_px):
        raise ValueError(f"expected pictures of at least {side_px} px, got {images.shape}")
    which = rng.integers(0, len(images), patches)
    down, right = (rng.integers(0, side - side_px + 1, patches) for _ in range(2))
    window = np.arange(side_px)
    drawn = images[
        which[:, None, None],
        down[:, None, None] + window[None, :, None],
        right[:, None, None] + window[None, None, :],
    ]
    middle = side_px // 2
    on_cell = drawn[:, middle, middle].max(axis=1) > 0
    drawn = drawn[on_cell] if on_cell.any() else drawn
    flat = drawn.reshape(len(drawn), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(flat - mean, rowvar=False))
    lift = REGULARIZATION * max(float(values.mean()), 1e-6)
    matrix = vectors @ np.diag(SPREAD / np.sqrt(np.maximum(values, 0.0) + lift)) @ vectors.T
    centre = (middle * side_px + middle) * 3
    rows = matrix[centre : centre + 3]
    # On the grid that int8 gives weights: the filter subtracts large numbers from each other, and
    # rounding it later would shift every picture's colour.
    grid = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12) / WEIGHT_STEPS
    rows = np.rint(rows / grid) * grid
    kernel = rows.reshape(3, side_px, side_px, 3).transpose(1, 2, 3, 0)
    return kernel.astype(np.float32), (-rows @ mean).astype(np.float32)


@keras.saving.register_keras_serializable(PACKAGE)
class LogOdds(keras.layers.Layer):  # type: ignore[misc]
    """Probabilities to log-odds, kept within +-16: the end of an ensemble of probabilities."""

    CLIP = 1e-7

    def call(self, inputs: Any) -> Any:
        """log(p / (1 - p)); shape and dtype stay."""
        chance = keras.ops.clip(inputs, self.CLIP, 1.0 - self.CLIP)
        return keras.ops.log(chance) - keras.ops.log(1.0 - chance)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's."""
        return input_shape


INPUT_LAYERS = (PerImageCentering, LocalContrastNormalization, Whitening)


def in_graph_steps(model: Any) -> tuple[str, ...]:
    """Names of the preprocessing layers inside ``model``, in order, for the bundle's contract."""
    return tuple(layer.contract_name for layer in model.layers if isinstance(layer, INPUT_LAYERS))
