"""Cells -> predictions: one bundle, one variant, one engine, one operating point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.spec import Bundle, ModelSpec
from edge_malaria.errors import BundleIntegrityError, BundleSchemaError
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.prepare.stain import crops_colour
from edge_malaria.records import Image, Label, Mask, Prediction
from edge_malaria.runtime.classify.abstain import MARGINS, not_a_red_cell
from edge_malaria.runtime.classify.cell_tint import (
    CellTint,
    cell_tint,
    foreign_cell,
    foreign_slide,
)
from edge_malaria.runtime.classify.flagged_views import Logits, mean_logits
from edge_malaria.runtime.classify.second_network import open_second
from edge_malaria.runtime.classify.second_opinion import SecondOpinion, second_opinion
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import default_engine, open_engine


def probability(
    logits: NDArray[np.float32], temperature: float = 1.0, bias: float = 0.0
) -> NDArray[np.float64]:
    """Calibrated probability of "parasitized": sigmoid((logit + bias) / temperature).

    Platt scaling (Platt 1999) with its two parameters fitted on validation patients; computed in
    float64 so that every engine and machine rounds alike.
    """
    z = (logits.astype(np.float64) + bias) / temperature
    # Written so that neither branch overflows.
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


class Classifier:
    """Classifies red-cell crops.

    Args:
        bundle: a verified bundle.
        variant: float32, float16, dynamic or int8.
        engine: litert or onnx; None for the default one. Never switched silently.
        operating_point: balanced or screening.
        threads: of the engine.
        threshold: a site's own, instead of the operating point's.
        with_engine: an already opened engine (tests pass a ``FakeEngine``).
        second_opinion: says which inputs are no red cells; see ``second_opinion``.
        second: answers about flagged cells in place of the bundle's second network, on the scale of
            the first; needed beside ``with_engine`` where the bundle asks one.

    Attributes:
        bundle: as given.
        threshold: probability at or above which a cell is positive.
        input_size_px: S of the network's S x S input.
        target: the whole way of preparing a crop, which ``network_input`` takes.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: str = "int8",
        engine: str | None = None,
        operating_point: str = "balanced",
        threads: int = 1,
        *,
        threshold: float | None = None,
        with_engine: Engine | None = None,
        second_opinion: SecondOpinion | None = None,
        second: Logits | None = None,
    ) -> None:
        self.bundle, spec = bundle, bundle.classifier
        if with_engine is None:
            name = engine or default_engine()
            file = spec.file(variant, name)
            with_engine = open_engine(bundle.read(file.file), name, threads)
            _check_ends(bundle, file.file, with_engine)
            opened = None if second else open_second(bundle, variant, name, threads)
            second = second if opened is None else opened.logits
        self.engine: Engine = with_engine
        self.variant = variant
        self.operating_point = operating_point
        self.threshold = spec.threshold(operating_point) if threshold is None else threshold
        self.input_size_px = spec.size_px
        self.target: Target = spec.target
        self._decision = Decision(spec, self.threshold)
        self._second = second
        self._second_opinion = second_opinion

    def classify(
        self, crops: Sequence[Image], masks: Sequence[Mask | None] | None = None
    ) -> list[Prediction]:
        """Crops (uint8 [H, W, 3] RGB, tight around the cell) -> predictions, in order.

        Where the bundle scales the slide's colour, the crops of one call are taken as one slide.
        Crops of a colour that no laboratory's red cells have get the label "unsure".
        """
        table, stain = None, preparation(self.target).stain
        if stain is not None and (colour := crops_colour(crops, masks)) is not None:
            table = stain.table(colour)
        found = self.predict_inputs(network_inputs(crops, self.target, masks, table))
        looked = masks if masks is not None else [None] * len(crops)
        tints = [cell_tint(crop, mask) for crop, mask in zip(crops, looked, strict=True)]
        return unsure_by_tint(found, tints, foreign_slide(tints))

    def predict_inputs(self, batch: Image) -> list[Prediction]:
        """Network inputs uint8 [N, S, S, 3] -> predictions; N may be 0."""
        if not len(batch):
            return []
        logits = self._decision.settled(self.logits(batch), batch, self.logits, self._second)
        foreign = self._second_opinion.foreign(batch) if self._second_opinion else None
        return self._decision.predictions(logits, batch, foreign)

    def logits(self, batch: Image) -> NDArray[np.float32]:
        """The network's answers: uint8 [N, S, S, 3] -> float32 [N]."""
        return self.engine.run(batch).reshape(len(batch))

    def logits_again(self, batch: Image) -> NDArray[np.float32]:
        """What decides about cells that are asked again: uint8 [N, S, S, 3] -> float32 [N]."""
        if self._second is not None:
            return self._second(batch)
        return mean_logits(batch, self.logits)

    def asks_again(self, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """float32 [N], first answers -> bool [N]: which cells are asked again."""
        return self._decision.asked_again(logits)


def unsure_by_tint(
    predictions: Sequence[Prediction], tints: Sequence[CellTint | None], slide_is_foreign: bool
) -> list[Prediction]:
    """The predictions, unsure where a cell's colour, or that of all of them, is no red cell's."""
    return [
        replace(p, label="unsure") if slide_is_foreign or foreign_cell(tint) else p
        for p, tint in zip(predictions, tints, strict=True)
    ]


def _check_ends(bundle: Bundle, file: str, engine: Engine) -> None:
    """The file takes cells of the size that the bundle prepares, and gives one logit.

    Raises:
        BundleIntegrityError: an engine would resize its input to anything without a word.
    """
    side = bundle.classifier.size_px
    got, out = engine.input.shape, engine.output.shape
    if got != (side, side, 3) or int(np.prod(out)) != 1:
        raise BundleIntegrityError(
            f"{bundle.path}/{file}: expected input ({side}, {side}, 3) and one output, as "
            f"bundle.json says, got {got} and {out}. Copy or export the bundle again."
        )


class Decision:
    """From logits to labels: temperature, threshold and abstention of one model.

    Attributes:
        threshold: probability at or above which a cell is positive.
        temperature, bias: of the calibration.
        asked_again_from: probability from which on the second network, or eight views of a cell,
            decide; None for never. The bundle's own, also where a site has thresholds of its own:
            eight views are asked for from its balanced point on.
    """

    def __init__(self, spec: ModelSpec, threshold: float) -> None:
        self.threshold = threshold
        self.temperature, self.bias = spec.decision.temperature, spec.decision.bias
        self.asked_again_from = spec.decision.second_from
        if spec.decision.flagged_views > 1:
            self.asked_again_from = spec.threshold("balanced")
        self._asks_second = spec.decision.second_from is not None
        self._unsure_between = spec.decision.unsure_between or (1.0, 0.0)
        self._not_a_red_cell = spec.decision.not_a_red_cell
        limits = (self._not_a_red_cell or {}).get("limits", {})
        unknown = sorted(set(limits) - set(MARGINS))
        if unknown:
            raise BundleSchemaError(
                f"abstention: expected measures of {sorted(MARGINS)}, got {unknown[0]!r}. "
                "Update edge-malaria, or export the bundle again."
            )

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """float32 [N] -> calibrated probabilities float64 [N]."""
        return probability(logits, self.temperature, self.bias)

    def asked_again(self, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """float32 [N], first answers -> bool [N]: which cells are asked again."""
        if self.asked_again_from is None:
            return np.zeros(len(logits), np.bool_)
        return np.asarray(self.probabilities(logits) >= self.asked_again_from)

    def settled(
        self,
        logits: NDArray[np.float32],
        batch: Image,
        run: Logits,
        second: Logits | None = None,
    ) -> NDArray[np.float32]:
        """The logits that decide.

        Of flagged cells those of the second network, or the mean of eight views.

        Args:
            logits: float32 [N], the network's first answers.
            batch: uint8 [N, S, S, 3], what it saw.
            run: the network, for further views.
            second: the second network, on the first one's scale, where the bundle has one.

        Returns:
            float32 [N]; ``logits`` itself where no cell is asked again.

        Raises:
            ValueError: the bundle asks a second network and none was given.
        """
        again = np.flatnonzero(self.asked_again(logits))
        if not len(again):
            return logits
        settled = logits.copy()
        if self._asks_second:
            if second is None:
                raise ValueError("expected the second network that the bundle asks, got none")
            settled[again] = second(batch[again])
        else:
            settled[again] = mean_logits(batch[again], run, logits[again])
        return settled

    def predictions(
        self, logits: NDArray[np.float32], batch: Image, foreign: NDArray[np.bool_] | None = None
    ) -> list[Prediction]:
        """One prediction per cell.

        Args:
            logits: float32 [N], those that decide: see ``settled``.
            batch: uint8 [N, S, S, 3], what the network saw.
            foreign: bool [N], what a second opinion called no red cell.
        """
        chances = self.probabilities(logits)
        unsure = self._unsure(chances, batch)
        if foreign is not None:
            unsure = unsure | foreign
        found = []
        for p, logit, doubt in zip(chances, logits, unsure, strict=True):
            positive = bool(p >= self.threshold)
            label: Label = "parasitized" if positive else "uninfected"
            found.append(Prediction(float(p), positive, "unsure" if doubt else label, float(logit)))
        return found

    def _unsure(self, chances: NDArray[np.float64], batch: Image) -> NDArray[np.bool_]:
        low, high = self._unsure_between
        doubt = (chances > low) & (chances < high)
        # A logit that is no number must never become a label.
        doubt |= ~np.isfinite(chances)
        if self._not_a_red_cell is not None:
            doubt |= not_a_red_cell(batch, self._not_a_red_cell)
        return np.asarray(doubt, np.bool_)


def crop_classifier(bundle: Bundle, **options: Any) -> Classifier:
    """A classifier for crops from anywhere, which asks the finder whether they are red cells.

    Options are those of ``Classifier``: variant, engine, operating_point, threads.
    """
    opinion = second_opinion(bundle, options.get("engine"), options.get("threads", 1))
    return Classifier(bundle, **options, second_opinion=opinion)


class OpenBundle:
    """A bundle ready to use; see ``open_bundle``."""

    def __init__(self, bundle: Bundle, **options: Any) -> None:
        self.bundle = bundle
        self._classifier = crop_classifier(bundle, **options)

    def classify(
        self, crops: Sequence[Image], masks: Sequence[Mask | None] | None = None
    ) -> list[Prediction]:
        """See ``Classifier.classify``."""
        return self._classifier.classify(crops, masks)


def open_bundle(path: Path | str | None = None, **options: Any) -> OpenBundle:
    """Opens and verifies a bundle; without ``path`` the shipped one.

    Options are those of ``Classifier``: variant, engine, operating_point, threads. Threads may
    share what is returned (see ``runtime.engines.base.Engine``).

    Example:
        >>> import edge_malaria
        >>> [cell] = edge_malaria.open_bundle("default-bundle").classify([crop])
        >>> cell.label, cell.p_parasitized
    """
    return OpenBundle(read_bundle(path or shipped_bundle()), **options)
