"""What a network expects to be shown, as bundle.json records it and the device executes it.

The keys of today's bundles keep their meaning: one without ``resize`` and ``mask`` averages areas
and blackens the background. A bundle with another way of preparing has other ``steps``, so that an
older edge-malaria refuses it in place of preparing its cells wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_malaria.prepare.stain import STEP, StainScaling
from edge_malaria.records import expect

# area: mean of the pixels covered. linear: two neighbours along each axis, half-pixel centres, no
# smoothing (OpenCV's INTER_LINEAR, tf.image.resize). nearest: the pixel below the centre (Pillow,
# tf.image.resize, INTER_NEAREST_EXACT). pad: cut or padded with black about the middle, unscaled
# (tf.image.resize_with_crop_or_pad). ``prepare.resize`` holds the rules.
RESIZES = ("area", "linear", "nearest", "pad")
# black: where the finder gives a cell's mask, what lies outside it becomes black. none: the crop
# keeps its surroundings.
MASKS = ("black", "none")
_INTERPOLATION = {
    "area": "INTER_AREA",
    "linear": "INTER_LINEAR",
    "nearest": "INTER_NEAREST_EXACT",
    "pad": "none",
}


@dataclass(frozen=True)
class Preparation:
    """From a cell crop to the network's input.

    Attributes:
        size_px: S of the S x S input.
        resize: one of ``RESIZES``.
        mask: one of ``MASKS``.
        stain: how the slide's colour is scaled first; None where it is not.
    """

    size_px: int
    resize: str = "area"
    mask: str = "black"
    stain: StainScaling | None = None

    def __post_init__(self) -> None:
        expect(self.size_px > 0, "a side above 0 px", self.size_px)
        expect(self.resize in RESIZES, f"resize in {RESIZES}", self.resize)
        expect(self.mask in MASKS, f"mask in {MASKS}", self.mask)

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in order: ``steps`` in bundle.json."""
        stained = () if self.stain is None else (STEP,)
        masked = ("mask-background-to-black",) if self.mask == "black" else ()
        resized = "crop-or-pad" if self.resize == "pad" else f"resize-inter-{self.resize}"
        return (*stained, *masked, resized, "rgb-uint8")

    def as_json(self) -> dict[str, object]:
        """``preprocessing`` in bundle.json; ``resize`` and ``mask`` only where not the default."""
        value: dict[str, object] = {
            "input": "crop uint8 [H, W, 3] RGB",
            "steps": list(self.steps),
            "size_px": self.size_px,
            "interpolation": _INTERPOLATION[self.resize],
            "colour": "RGB",
            "scale_inside_graph": True,
        }
        if (self.resize, self.mask) != ("area", "black"):
            value |= {"resize": self.resize, "mask": self.mask}
        if self.stain is not None:
            value["stain"] = self.stain.as_json()
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preparation:
        """The inverse of ``as_json``.

        Raises:
            ValueError: an unknown way of preparing, or ``steps`` that do not belong to it.
        """
        made = cls(
            int(value["size_px"]),
            str(value.get("resize", "area")),
            str(value.get("mask", "black")),
            StainScaling.from_contract(value),
        )
        expect(tuple(value["steps"]) == made.steps, f"steps {list(made.steps)}", value["steps"])
        return made


# A plain number means the default way of preparing, at that side.
Target = int | Preparation


def preparation(target: Target) -> Preparation:
    """``target`` itself, or the default way of preparing at that side."""
    return target if isinstance(target, Preparation) else Preparation(target)
