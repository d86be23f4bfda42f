"""Fields -> quality -> cells -> classes -> journal: what screens a slide.

Memory does not grow with the number of fields: what is known of a field goes to the journal, and
only sums, the best gallery cells and the places of frames stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from edge_malaria.errors import ImageError
from edge_malaria.prepare.contract import Target, preparation
from edge_malaria.prepare.preprocess import cell_colours, cell_inputs
from edge_malaria.prepare.stain import RGB, SlideColour
from edge_malaria.records import Cell, Field, Image, Prediction
from edge_malaria.runtime.detect.cells import CellFinder
from edge_malaria.runtime.quality.field_quality import FieldQuality, describe
from edge_malaria.runtime.screen.blank_frames import BlankFrames
from edge_malaria.runtime.screen.config import ScreenConfig
from edge_malaria.runtime.screen.field_judge import FieldJudge, FieldView, view_of
from edge_malaria.runtime.screen.field_pictures import FieldPictures
from edge_malaria.runtime.slide.counted_cells import CountedCells
from edge_malaria.runtime.slide.field_line import (
    SEEN_BEFORE,
    UNREADABLE,
    CellRow,
    FieldLine,
    StainSeen,
    left_out,
)
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import SlideLine
from edge_malaria.runtime.slide.registration import Placement, Registrar
from edge_malaria.runtime.slide.totals import PlacedFrame, SlideTotals
from edge_malaria.runtime.sources.base import Source, Unreadable
from edge_malaria.runtime.sources.names import Known


class CellClassifier(Protocol):
    """What the pipeline asks of a classifier (``runtime.classify.Classifier``)."""

    @property
    def target(self) -> Target:
        """The way from a crop to the network's input."""
        ...

    def predict_inputs(self, batch: Image) -> list[Prediction]:
        """uint8 [N, S, S, 3] -> one prediction each; N may be 0."""
        ...


@dataclass(frozen=True)
class ScreenOptions:
    """How a slide is screened.

    Attributes:
        quality_gate: refuse fields by quality.
        likely_from: the balanced point's threshold; above 1 nothing is likely.
        max_fields, max_cells: stop after so many accepted fields or counted cells; None: all.
    """

    quality_gate: bool = True
    max_fields: int | None = None
    max_cells: int | None = None
    likely_from: float = 2.0


class SlidePipeline:
    """Screens one slide into a journal.

    Args:
        directory: the report directory.
        journal: an open journal in it.
        finder, classifier: the stages.
        config, options: the settings.
    """

    def __init__(
        self,
        directory: Path,
        journal: Journal,
        finder: CellFinder,
        classifier: CellClassifier,
        config: ScreenConfig,
        options: ScreenOptions | None = None,
    ) -> None:
        self.directory, self.journal = directory, journal
        self.classifier = classifier
        self.config, self.options = config, options or ScreenOptions()
        self._judge = FieldJudge(finder, config.quality, gate=self.options.quality_gate)
        self.totals = SlideTotals()
        likely_from = self.options.likely_from
        self._pictures = FieldPictures(directory, config.report, likely_from)
        self._registrar = Registrar()
        self._counted = CountedCells()
        self._skipped = 0
        self._replay: dict[str, PlacedFrame] = {}
        self._stain = preparation(classifier.target).stain
        self._colour = SlideColour()
        self._started = time.monotonic()
        self._facts: dict[str, Any] = {}
        self._blank = BlankFrames()
        # Whether the field at hand may show the place of the one before it.
        self._live = False

    @property
    def warnings(self) -> list[str]:
        """What the report should say of the frames."""
        return self._blank.warnings

    def resume(self) -> None:
        """Takes up what the journal holds."""
        self._facts = self.journal.facts()
        for line in self.journal.fields():
            self.totals.add(line, self.config.report.gallery_cells)
            if line.place is not None and not line.reason:
                self._registrar.restore(line.place)
                self._counted.restore(line.counted_boxes, line.place)
                self._judge.counted(line.counted_boxes)
                if line.stain is not None:
                    self._colour.restore(line.stain.window)
        self._replay = {frame.field: frame for frame in self.totals.recent if frame.place}
        self._started = time.monotonic() - self.totals.elapsed_s

    def recount(self) -> None:
        """Sums anew what the journal holds: Ctrl-C may fall between its line and the sums."""
        self.totals = SlideTotals()
        for line in self.journal.fields():
            self.totals.add(line, self.config.report.gallery_cells)

    def run(
        self,
        source: Source,
        step: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> SlideTotals:
        """Looks at every field of ``source``; ``step`` is called after each.

        Args:
            source: of the fields.
            step: called after each.
            tell: called with what somebody at the microscope should know now.

        Raises:
            ImageError: no field at all could be read.
        """
        skip = Known(frozenset(self.totals.names), frozenset(self._replay))
        why = ""
        if self._full():
            return self.totals
        self._blank.tell = tell
        for item in source.fields(skip):
            self._keep_facts(source)
            if isinstance(item, Unreadable):
                if item.name not in self.totals.names:
                    why = item.why
                    self._write(FieldLine(item.name, item.index, UNREADABLE, item.why))
            elif item.name in self._replay:
                self._place_again(item)
            elif item.name not in self.totals.names:
                self._live = source.live or item.stream
                self._field(item)
            step()
            # Asked here and not before the next field: a watched folder may never give another.
            if self._full():
                break
        unreadable = self.totals.rejected[UNREADABLE]
        if self.totals.seen and unreadable == self.totals.seen:
            raise ImageError(f"no field could be read. The last one: {why or 'see the journal'}")
        return self.totals

    def _keep_facts(self, source: Source) -> None:
        """Writes down what the source found out about itself, such as the camera's settings."""
        for name, value in source.facts.items():
            if self._facts.get(name) != value:
                self.journal.append(SlideLine(name, value))
                self._facts[name] = value

    def _full(self) -> bool:
        fields, cells = self.options.max_fields, self.options.max_cells
        return (fields is not None and self.totals.accepted >= fields) or (
            cells is not None and self.totals.cells >= cells
        )

    def _place_again(self, item: Field) -> None:
        """Gives the registration back the picture of a frame that the journal has already."""
        frame = self._replay[item.name]
        if frame.place is not None:
            self._registrar.put_back(view_of(item.image).small, frame.place, frame.reason)

    def _field(self, item: Field) -> None:
        view = view_of(item.image)
        placement = self._registrar.place(view.small, item.image.shape)
        if placement.new_share < self.config.motion.min_new_share:
            if self._live:
                self._skipped += 1
            else:
                self._write(FieldLine(item.name, item.index, SEEN_BEFORE))
            return
        quality = self._judge.quality(view)
        if self._judge.cells_decide(quality):
            seen = view.corrected()
            same = item.jpeg if seen is item.image else None
            self._count(replace(item, image=seen, jpeg=same), view, placement, quality)
        else:
            self._refuse(item, placement, quality)

    def _refuse(self, item: Field, placement: Placement, quality: FieldQuality) -> None:
        again = item.stream and self._blank.again(quality.reason, placement)
        here = self._live and self._registrar.refused_here(placement) == quality.reason
        if again or here:
            self._skipped += 1
            return
        self._registrar.commit(placement, refused=quality.reason)
        measures = describe(quality.measures)
        line = FieldLine(item.name, item.index, quality.reason, place=placement, quality=measures)
        self._write(line)

    def _count(
        self, item: Field, view: FieldView, placement: Placement, quality: FieldQuality
    ) -> None:
        """Finds, classifies and counts the cells of a field; ``item`` holds it corrected."""
        cells, quality = self._judge.cells(view, item.image, quality)
        if self.options.quality_gate and not quality.accepted:
            self._refuse(item, placement, quality)
            return
        colour = self._seen_colour(item.image, cells)
        seen = self._counted.seen(cells, placement, self._registrar.earlier(placement))
        cells = [left_out(cell) if old else cell for cell, old in zip(cells, seen, strict=True)]
        predictions = self._classify(item.image, cells, colour)
        self._registrar.commit(placement)
        self._counted.add(cells, placement)
        self._blank.counted()
        line = self._line(item, view.small, placement, quality, cells, predictions)
        if colour is not None:
            line = replace(line, stain=StainSeen(colour, tuple(self._colour.window)))
        self._judge.counted(line.counted_boxes)
        self._write(line)

    def _seen_colour(self, image: Image, cells: list[Cell]) -> RGB | None:
        """The colour that this field is scaled from; None where the bundle scales none."""
        if self._stain is None:
            return None
        return self._colour.take(cell_colours(image, cells))

    def _classify(
        self, image: Image, cells: list[Cell], colour: RGB | None
    ) -> list[Prediction | None]:
        red = [i for i, cell in enumerate(cells) if cell.kind == "red-cell"]
        scaling = self._stain
        table = None if scaling is None or colour is None else scaling.table(colour)
        batch = cell_inputs(image, [cells[i] for i in red], self.classifier.target, table)
        found: list[Prediction | None] = [None] * len(cells)
        for i, prediction in zip(red, self.classifier.predict_inputs(batch), strict=True):
            found[i] = prediction
        return found

    def _line(
        self,
        item: Field,
        small: Image,
        placement: Placement,
        quality: FieldQuality,
        cells: list[Cell],
        predictions: list[Prediction | None],
    ) -> FieldLine:
        pairs = list(zip(cells, predictions, strict=True))
        counted = [(i, c, p) for i, (c, p) in enumerate(pairs) if c.counted and p is not None]
        positive = sum(p.positive for _, _, p in counted)
        low = self.config.doubtful_from(quality)
        likely = sum(p.p_parasitized >= self.options.likely_from for _, _, p in counted)
        number = self.journal.line_count
        return FieldLine(
            item.name,
            item.index,
            size_px=(item.image.shape[1], item.image.shape[0]),
            place=placement,
            quality=describe(quality.measures),
            cells=tuple(CellRow.of(cell, prediction) for cell, prediction in pairs),
            positive=positive,
            doubtful=sum(not p.positive and p.p_parasitized >= low for _, _, p in counted),
            likely=likely,
            unsure=sum(p.label == "unsure" for _, _, p in counted),
            gallery=tuple(self._pictures.gallery(item.image, counted, self.totals)),
            picture=self._pictures.with_boxes(
                number, (item.image, small), cells, predictions, self.totals
            ),
            view=self._pictures.as_it_is(number, item) if likely else "",
        )

    def _write(self, line: FieldLine) -> None:
        elapsed_s = round(time.monotonic() - self._started, 3)
        line = replace(line, skipped=self._skipped, elapsed_s=elapsed_s)
        self.journal.append(line)
        self._skipped = 0
        self.totals.add(line, self.config.report.gallery_cells)
