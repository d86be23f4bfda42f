"""The int8 recipes, as data, in the order in which ``export --int8`` tries them.

1. ``ranges-in-model``: int8 with the activation ranges that the model carries (quantization-aware
   training). Where there are none, or they fail and there are calibration cells,
   ``per-channel-ptq``: per-channel weights, ranges from those cells.
2. ``equalized-ptq``: the same after channels were brought to one size (``converters.equalize``).
3. ``keep-float-output``: the last layer alone stays float, because one step of its 8-bit output
   may be several logits. ``keep-float-<k>``: the k worst layers of the diagnosis as well, and the
   layers that read them, through pooling and flattening. The file is ``int8-mixed`` and is never
   called int8.
4. ``qat-fine-tune``: the model learns to live with 8 bits on train cells; needs a data set.

The first whose files pass the gate ships, and bundle.json names it. Where none passes,
nothing ships.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters import to_tflite
from converters.diagnose import LayerNoise, worst_first
from edge_malaria.errors import UsageError
from edge_malaria.records import Image

RANGES_IN_MODEL = "ranges-in-model"
PER_CHANNEL = "per-channel-ptq"
EQUALIZED = "equalized-ptq"
KEEP_FLOAT = "keep-float"
KEEP_OUTPUT = f"{KEEP_FLOAT}-output"
FINE_TUNE = "qat-fine-tune"
# One, two and four layers; with more in float little of int8's speed is left.
KEPT_COUNTS = (1, 2, 4)


@dataclass(frozen=True)
class Recipe:
    """One way to int8.

    Attributes:
        name: what bundle.json records.
        variant: ``int8`` or ``int8-mixed``.
        keep_float: tensors whose operators stay float (``LayerNoise.tensor``).
        layers: the same, as Keras layer names.
        fine_tune: whether the model is trained again before.
    """

    name: str
    variant: str = "int8"
    keep_float: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    fine_tune: bool = False

    @property
    def title(self) -> str:
        """For a log line."""
        return f"{self.name} ({', '.join(self.layers)} in float)" if self.layers else self.name


def first_recipe(has_ranges: bool) -> Recipe:
    """The recipe that every export starts with."""
    return Recipe(RANGES_IN_MODEL if has_ranges else PER_CHANNEL)


def later_recipes(
    noise: Sequence[LayerNoise],
    *,
    has_calibration: bool,
    has_data: bool,
    after_ranges: bool = False,
) -> tuple[Recipe, ...]:
    """The fallback recipes, in order.

    Args:
        noise: of the int8 file that failed.
        has_calibration: whether there are cells to set ranges with (mixed files need them).
        has_data: whether there are train patients to fine-tune on.
        after_ranges: whether it was ``ranges-in-model`` that failed; then calibration comes next.
    """
    recipes = []
    if has_calibration and after_ranges:
        recipes.append(Recipe(PER_CHANNEL))
    if has_calibration:
        recipes.append(Recipe(EQUALIZED))
        recipes.extend(_mixed(noise))
    if has_data:
        recipes.append(Recipe(FINE_TUNE, fine_tune=True))
    return tuple(recipes)


def _mixed(noise: Sequence[LayerNoise]) -> list[Recipe]:
    """The recipes that keep some layers in float, fewest first."""
    worst = worst_first(noise)
    recipes: list[Recipe] = []
    for count in (0, *KEPT_COUNTS):
        # What reads a layer's output must read floats too, or it is rounded all the same.
        chosen = (*worst[:count], *noise[-1:])
        kept = {tensor for layer in chosen for tensor in (layer.tensor, *layer.readers)}
        layers = [layer for layer in noise if layer.tensor in kept]
        # Keeping every layer in float would not be a quantized file at all.
        if count > len(worst) or not len(layers) < len(noise):
            break
        name = f"{KEEP_FLOAT}-{count}" if count else KEEP_OUTPUT
        tensors = tuple(sorted(kept))
        if not any(tensors == recipe.keep_float for recipe in recipes):
            recipes.append(
                Recipe(name, "int8-mixed", tensors, tuple(layer.layer for layer in layers))
            )
    return recipes


def convert(
    model: Any, recipe: Recipe, calibration: Image | None, ranged: bytes | None = None
) -> bytes:
    """The TFLite bytes of one recipe.

    Args:
        model: Keras; with ranges for ``ranges-in-model`` and ``qat-fine-tune``, equalized for
            ``equalized-ptq``, else plain.
        recipe: from ``first_recipe`` or ``later_recipes``.
        calibration: uint8 [N, S, S, 3]; not used where the model carries ranges.
        ranged: ``to_tflite.with_ranges`` of the two, for recipes that keep layers in float; None
            measures the ranges now.

    Raises:
        UsageError: the recipe needs calibration cells and there are none.
        GateFailed: the converter gave something else than the recipe says.
    """
    if recipe.name in (RANGES_IN_MODEL, FINE_TUNE):
        return to_tflite.convert(model, "int8")
    if calibration is None or not len(calibration):
        raise UsageError(f"{recipe.name} needs calibration cells (--data DATASET).")
    if recipe.keep_float and ranged is not None:
        return to_tflite.partly_float(ranged, model, recipe.keep_float)
    return to_tflite.convert(model, "int8", calibration, recipe.keep_float)
