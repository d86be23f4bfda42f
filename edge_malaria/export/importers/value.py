"""A tensor while a foreign graph is rebuilt in Keras, with what is still to be done to it.

Layout changes, channel orders and products per channel are not built: they are kept beside the
tensor and folded into the next (or the last) layer with weights. So NCHW becomes NHWC, BGR becomes
a permuted kernel, and a batch norm in front of a convolution disappears in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(eq=False)
class Linear:
    """A layer with weights that may still be changed.

    Attributes:
        layer: Conv2D, DepthwiseConv2D or Dense, not yet given its weights.
        kernel, bias: float64, in Keras's shapes.
        source: the tensor that it reads.
    """

    layer: Any
    kernel: Array
    bias: Array
    source: Any

    def scale(self, factor: Array, shift: Array) -> None:
        """Multiplies each output by ``factor`` and adds ``shift``."""
        kernel = self.kernel
        if type(self.layer).__name__ == "DepthwiseConv2D":
            self.kernel = kernel * factor.reshape(kernel.shape[2], kernel.shape[3])
        else:
            self.kernel = kernel * factor
        self.bias = self.bias * factor + shift


@dataclass(eq=False)
class Value:
    """ONNX's tensor, as Keras's tensor and what is still to be done.

    ONNX channel j is ``factor[j] * tensor[..., take[j]] + shift[j]``.

    Attributes:
        tensor: Keras, channels last.
        order: ONNX axis i is Keras axis ``order[i]``.
        take: Keras channel of each ONNX channel.
        factor, shift: per ONNX channel.
        linear: the layer that gave ``tensor``, where nothing else reads it.
        least: a lower bound of ``tensor``'s values where one is known (0 after a ReLU).
        behind: the layer before it, where only ReLU and pooling lie between: positive factors may
            pass back to it.
    """

    tensor: Any
    order: tuple[int, ...]
    take: NDArray[np.int64]
    factor: Array
    shift: Array
    linear: Linear | None = None
    least: float | None = None
    behind: Linear | None = None

    def hand_back(self) -> None:
        """Gives the size of the pending factors to the layer before ReLU and pooling.

        A batch norm behind a ReLU then brings the stored activations to one scale, which int8
        needs; folded forward they would keep channels of very different size.
        """
        if self.behind is None or len(self.take) != int(self.tensor.shape[-1]):
            return
        size = np.where(self.factor == 0.0, 1.0, np.abs(self.factor))
        back = np.argsort(self.take)
        self.behind.scale(size[back], np.zeros(len(back)))
        self.factor = self.factor / size

    @property
    def shape(self) -> list[int]:
        """In ONNX's order, batch 1."""
        sides = [1, *(int(side) for side in self.tensor.shape[1:])]
        return [sides[axis] for axis in self.order]

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.order)

    @property
    def channel_axis(self) -> int:
        """The ONNX axis of the channels."""
        return self.order.index(self.rank - 1)

    @property
    def in_order(self) -> bool:
        """Whether ONNX's channels are Keras's."""
        return bool(np.array_equal(self.take, np.arange(len(self.take))))

    @property
    def untouched(self) -> bool:
        """Whether no product or sum is pending."""
        return bool((self.factor == 1.0).all() and (self.shift == 0.0).all())

    def like(self, tensor: Any, **changes: Any) -> Value:
        """The same pending changes on another tensor."""
        kept: dict[str, Any] = {
            "order": self.order,
            "take": self.take,
            "factor": self.factor,
            "shift": self.shift,
        }
        return Value(tensor, **{**kept, **changes})


def fresh(tensor: Any, order: tuple[int, ...] | None = None, **facts: Any) -> Value:
    """A tensor with nothing pending; ``order`` defaults to Keras's own."""
    channels = int(tensor.shape[-1])
    return Value(
        tensor,
        tuple(range(len(tensor.shape))) if order is None else order,
        np.arange(channels),
        np.ones(channels),
        np.zeros(channels),
        **facts,
    )
