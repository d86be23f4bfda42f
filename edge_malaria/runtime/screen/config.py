"""The settings of a screening run: quality.toml, and what the user's --config changes in it."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge_malaria.errors import ConfigError
from edge_malaria.records import expect
from edge_malaria.runtime.quality.field_quality import FieldQuality, QualityLimits
from edge_malaria.runtime.slide.statistics import VerdictRules
from edge_malaria.runtime.sources.base import CameraSettings, SourceSettings
from edge_malaria.runtime.words.language import DEFAULT, LANGUAGES

DEFAULTS = Path(__file__).with_name("quality.toml")

Section = TypeVar("Section")
# No setting is larger; whole numbers up to here are exact as floats.
_LARGEST = 2**53


@dataclass(frozen=True)
class MotionSettings:
    """``[motion]``: a field with less new area than ``min_new_share`` waits for the stage."""

    min_new_share: float = 0.10

    def __post_init__(self) -> None:
        expect(0 <= self.min_new_share <= 1, "min_new_share from 0 to 1", self.min_new_share)


@dataclass(frozen=True)
class ReportSettings:
    """``[report]``: how many pictures the report directory keeps, and its language."""

    annotated_fields: int = 200
    gallery_cells: int = 60
    language: str = DEFAULT

    def __post_init__(self) -> None:
        expect(self.annotated_fields >= 0, "annotated_fields >= 0", self.annotated_fields)
        # Each stays in memory and stands in the page.
        expect(
            0 <= self.gallery_cells <= 10_000, "gallery_cells from 0 to 10,000", self.gallery_cells
        )
        expect(self.language in LANGUAGES, f"language in {list(LANGUAGES)}", self.language)


@dataclass(frozen=True)
class ScreenConfig:
    """All settings of a run."""

    quality: QualityLimits = field(default_factory=QualityLimits)
    verdict: VerdictRules = field(default_factory=VerdictRules)
    motion: MotionSettings = field(default_factory=MotionSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    source: SourceSettings = field(default_factory=SourceSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)

    def doubtful_from(self, quality: FieldQuality) -> float:
        """The probability from which a cell that is not called is borderline, 0-1.

        The classifier does not know cells of faint colour, however clear its answers are.
        """
        return 0.0 if quality.faint_colour(self.quality) else self.verdict.doubtful_from

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


def load_config(path: Path | None = None) -> ScreenConfig:
    """The defaults, with what ``path`` sets replaced.

    Raises:
        ConfigError: unreadable, not TOML, or an unknown or impossible value.
    """
    config = _applied(ScreenConfig(), _read(DEFAULTS), DEFAULTS)
    return config if path is None else _applied(config, _read(path), path)


def _read(path: Path) -> dict[str, Any]:
    try:
        # Notepad of Windows begins a file with a mark and ends its lines in its own way.
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error


def _applied(config: ScreenConfig, values: Mapping[str, Any], path: Path) -> ScreenConfig:
    names = [item.name for item in dataclasses.fields(config)]
    changed: dict[str, Any] = {}
    for section, entries in values.items():
        if section not in names or not isinstance(entries, dict):
            raise ConfigError(f"{path}: expected sections {names}, got {section!r}.")
        changed[section] = _section(getattr(config, section), entries, f"{path}: [{section}]")
    return dataclasses.replace(config, **changed)


def _section(current: Section, entries: Mapping[str, Any], where: str) -> Section:
    known = {item.name: getattr(current, item.name) for item in dataclasses.fields(current)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in entries.items():
        if name not in known:
            raise ConfigError(f"{where} knows {', '.join(known)}; got {name!r}.")
        values[name] = _value(known[name], value, f"{where} {name}")
    try:
        return dataclasses.replace(current, **values)  # type: ignore[type-var]
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from error


def _value(default: Any, value: Any, where: str) -> Any:
    """``value`` where it is of the kind of ``default``: text, a whole number, a finite number.

    TOML knows ``nan`` and ``inf``; a limit of either refuses everything or nothing.
    """
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ConfigError(f"{where}: expected text, got {value!r}.")
        return value
    kinds = int if isinstance(default, int) else int | float
    sound = isinstance(value, kinds) and not isinstance(value, bool)
    # Compared, not converted: a whole number of 400 digits is above every float.
    if not (sound and abs(value) <= _LARGEST):
        raise ConfigError(f"{where}: expected a number like {default}, got {str(value)[:60]}.")
    return type(default)(value)
