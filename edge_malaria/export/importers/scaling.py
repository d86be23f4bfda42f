"""From RGB pixels 0-255 to what a network of somebody else takes: ranges, means, channel order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANGES = ("0-1", "-1-1", "0-255", "imagenet", "caffe")
COLOURS = ("rgb", "bgr")
# torchvision.transforms.Normalize of the ImageNet models, in the order in which the network takes
# its channels: https://pytorch.org/vision/stable/models.html
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# keras.applications.imagenet_utils, mode "caffe": mean of each colour, on 0-255; order R, G, B.
CAFFE_MEAN = (123.68, 116.779, 103.939)


@dataclass(frozen=True)
class Scaling:
    """From RGB pixels 0-255 to what the network takes.

    Its channel j is ``factor[j] * pixel[channels[j]] + shift[j]``.
    """

    channels: tuple[int, int, int]
    factor: tuple[float, float, float]
    shift: tuple[float, float, float]

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [N, S, S, 3] RGB -> float32 of the same shape."""
        taken = pixels[..., list(self.channels)].astype(np.float32)
        factor, shift = np.array(self.factor, np.float32), np.array(self.shift, np.float32)
        return np.asarray(taken * factor + shift, np.float32)


def scaling_of(input_range: str, colour: str) -> Scaling:
    """The scaling of a declared range and channel order."""
    channels = (0, 1, 2) if colour == "rgb" else (2, 1, 0)
    factor, shift = {
        "0-1": ((1 / 255,) * 3, (0.0,) * 3),
        "-1-1": ((1 / 127.5,) * 3, (-1.0,) * 3),
        "0-255": ((1.0,) * 3, (0.0,) * 3),
        "imagenet": (
            tuple(1 / (255 * s) for s in IMAGENET_STD),
            tuple(-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
        ),
        "caffe": ((1.0,) * 3, tuple(-CAFFE_MEAN[channel] for channel in channels)),
    }[input_range]
    return Scaling(channels, factor, shift)  # type: ignore[arg-type]
