"""Where the things of a drawn slide lie: a list of places, light in memory, found by region."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_malaria.records import Box, expect
from edge_malaria.synthetic.cells import SMALLEST_PX, DrawnKind, relative_size
from edge_malaria.synthetic.shapes import POINTS, direction, uniform

# Shares of the asexual stages in peripheral P. falciparum blood: mostly rings, later stages
# stick to the vessels' walls. Chosen so that every stage is seen in a slide of a few hundred.
STAGE_SHARES: dict[DrawnKind, float] = {"ring": 0.75, "late-trophozoite": 0.17, "schizont": 0.08}


@dataclass(frozen=True)
class SmearSettings:
    """What a drawn smear contains.

    Attributes:
        cell_diameter_px: of a typical red cell.
        parasitemia: chance that a red cell holds an asexual parasite, 0-1.
        gametocytes: chance that a red cell holds a gametocyte, 0-1 (not part of parasitemia).
        density: share of the area that red cells would cover side by side, up to 0.8.
        overlap: share of red cells laid so that they touch or overlap another; more do where
            ``density`` leaves no room.
        white_cells: per red cell.
        platelets: per red cell.
        platelets_on_cells: share of the platelets that lie on a red cell.
        debris: per red cell.
        stages: shares of the asexual stages.
    """

    cell_diameter_px: float = 70.0
    parasitemia: float = 0.02
    gametocytes: float = 0.0
    density: float = 0.35
    overlap: float = 0.15
    white_cells: float = 0.003
    platelets: float = 0.06
    platelets_on_cells: float = 0.25
    debris: float = 0.02
    stages: tuple[tuple[DrawnKind, float], ...] = tuple(STAGE_SHARES.items())

    def __post_init__(self) -> None:
        expect(self.cell_diameter_px >= 8, "cell_diameter_px >= 8", self.cell_diameter_px)
        for name in ("parasitemia", "gametocytes", "overlap", "platelets_on_cells"):
            value = getattr(self, name)
            expect(0 <= value <= 1, f"{name} between 0 and 1", value)
        both = self.parasitemia + self.gametocytes
        expect(both <= 1, "parasitemia + gametocytes <= 1", both)
        expect(0 <= self.density <= 0.8, "density between 0 and 0.8", self.density)
        for name in ("white_cells", "platelets", "debris"):
            value = getattr(self, name)
            expect(0 <= value <= 10, f"{name} between 0 and 10 per red cell", value)


@dataclass(frozen=True)
class Place:
    """One thing on the slide: its number, middle, diameter and kind."""

    number: int
    kind: DrawnKind
    x: float
    y: float
    diameter_px: float


class Grid:
    """Places by square of the slide, so that neighbours are found without a search."""

    def __init__(self, step_px: float) -> None:
        self.step_px = step_px
        self._squares: dict[tuple[int, int], list[Place]] = defaultdict(list)

    def add(self, place: Place) -> None:
        """Registers a place."""
        self._squares[int(place.x // self.step_px), int(place.y // self.step_px)].append(place)

    def within(self, box: Box | tuple[float, float, float, float]) -> Iterator[Place]:
        """Places whose middle lies in the squares that ``box`` touches."""
        x0, y0, x1, y1 = (int(edge // self.step_px) for edge in box)
        for column in range(x0, x1 + 1):
            for row in range(y0, y1 + 1):
                yield from self._squares.get((column, row), ())

    def free(self, x: float, y: float, diameter_px: float, closeness: float = 1.08) -> bool:
        """Whether a disc fits at (x, y), keeping ``closeness`` x the sum of the radii."""
        reach = 2 * self.step_px
        for other in self.within((x - reach, y - reach, x + reach, y + reach)):
            apart = closeness * (diameter_px + other.diameter_px) / 2
            if (x - other.x) ** 2 + (y - other.y) ** 2 < apart * apart:
                return False
        return True


class Layout:
    """The places of one slide, drawn once from the seed."""

    def __init__(self, seed: int, width_px: int, height_px: int, settings: SmearSettings) -> None:
        self.settings = settings
        self.size_px = (width_px, height_px)
        self.grid = Grid(settings.cell_diameter_px * 1.1)
        self.places: list[Place] = []
        self._rng = np.random.default_rng([seed, 1])
        self._margin = 0.4 * settings.cell_diameter_px
        self._fill()

    def _fill(self) -> None:
        settings = self.settings
        width, height = (side + 2 * self._margin for side in self.size_px)
        # pi / 4 of the square around it is a disc's area.
        cell_area = 0.7854 * settings.cell_diameter_px**2
        total = round(settings.density * width * height / cell_area)
        for _ in range(self._count(settings.white_cells * total)):
            self._alone("white-cell")
        red = self._groups(round(total * settings.overlap))
        for _ in range(total - len(red)):
            # Where there is no room left, cells lie on each other, as in a thick part of a smear.
            host = red[int(self._rng.integers(len(red)))] if red else None
            red += self._alone(self._red_kind()) or (self._touching(host) if host else [])
        self._small_things(red, total)

    def _groups(self, count: int) -> list[Place]:
        """``count`` red cells in groups of about three that touch or overlap."""
        groups = [g for _ in range((count + 1) // 3) if (g := self._alone(self._red_kind()))]
        for index in range(count - len(groups) if groups else 0):
            group = groups[index % len(groups)]
            group += self._touching(group[int(self._rng.integers(len(group)))])
        return [place for group in groups for place in group]

    def _small_things(self, red: list[Place], total: int) -> None:
        for _ in range(self._count(self.settings.platelets * total)):
            if red and self._rng.random() < self.settings.platelets_on_cells:
                host = red[int(self._rng.integers(len(red)))]
                x, y = direction(int(self._rng.integers(POINTS)))
                far = uniform(self._rng, 0, 0.4) * host.diameter_px
                self._put("platelet", host.x + x * far, host.y + y * far)
            else:
                self._alone("platelet")
        for _ in range(self._count(self.settings.debris * total)):
            self._alone("debris")

    def _count(self, expected: float) -> int:
        return int(expected) + int(self._rng.random() < expected - int(expected))

    def _red_kind(self) -> DrawnKind:
        settings, draw = self.settings, float(self._rng.random())
        pick = float(self._rng.random()) * sum(share for _, share in settings.stages)
        if draw < settings.gametocytes:
            return "gametocyte"
        if draw >= settings.gametocytes + settings.parasitemia:
            return "healthy"
        for stage, share in settings.stages:
            if pick < share:
                return stage
            pick -= share
        return settings.stages[-1][0]

    def _diameter(self, kind: DrawnKind) -> float:
        size = relative_size(self._rng, kind) * self.settings.cell_diameter_px
        return max(SMALLEST_PX, size)

    def _put(self, kind: DrawnKind, x: float, y: float, diameter_px: float = 0.0) -> Place:
        place = Place(len(self.places), kind, x, y, diameter_px or self._diameter(kind))
        self.places.append(place)
        self.grid.add(place)
        return place

    def _anywhere(self) -> tuple[float, float]:
        x, y = (uniform(self._rng, -self._margin, side + self._margin) for side in self.size_px)
        return x, y

    def _alone(self, kind: DrawnKind) -> list[Place]:
        """A place that touches nothing; none where the slide is full."""
        diameter = self._diameter(kind)
        for _ in range(60):
            x, y = self._anywhere()
            if self.grid.free(x, y, diameter):
                return [self._put(kind, x, y, diameter)]
        return []

    def _touching(self, host: Place) -> list[Place]:
        """A red cell that touches or overlaps ``host`` by up to half a radius."""
        kind = self._red_kind()
        diameter = self._diameter(kind)
        for _ in range(20):
            x, y = direction(int(self._rng.integers(POINTS)))
            apart = uniform(self._rng, 0.72, 0.98) * (host.diameter_px + diameter) / 2
            px, py = host.x + x * apart, host.y + y * apart
            inside = all(
                -self._margin <= at <= side + self._margin
                for at, side in zip((px, py), self.size_px, strict=True)
            )
            if inside and self.grid.free(px, py, diameter, 0.7):
                return [self._put(kind, px, py, diameter)]
        return []
