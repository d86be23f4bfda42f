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
from edge_malaria.toml_lines import TomlLines

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
        ConfigError: unreadable, not TOML, or an unknown or impossible value; names line and key.
    """
    config = _File(DEFAULTS).applied(ScreenConfig())
    return config if path is None else _File(path).applied(config)


class _File:
    """One TOML file, and where in it a fault stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Notepad of Windows begins a file with a mark and ends its lines in its own way.
            text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
            self._values = tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}.") from error
        self._lines = TomlLines(text)

    def _fault(self, section: str, key: str, words: str) -> ConfigError:
        where = f"{self._path}:{self._lines.of(section, key)}"
        return ConfigError(f"{where}: [{section}]{' ' * bool(key)}{key}: {words}.")

    def applied(self, config: ScreenConfig) -> ScreenConfig:
        names = [item.name for item in dataclasses.fields(config)]
        changed: dict[str, Any] = {}
        for section, entries in self._values.items():
            if section not in names or not isinstance(entries, dict):
                told = ", ".join(f"[{name}]" for name in names)
                raise self._fault(section[:60], "", f"expected one of the sections {told}")
            changed[section] = self._section(getattr(config, section), section, entries)
        return dataclasses.replace(config, **changed)

    def _section(self, current: Section, section: str, entries: Mapping[str, Any]) -> Section:
        known = {item.name: getattr(current, item.name) for item in dataclasses.fields(current)}  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        for name, value in entries.items():
            if name not in known:
                raise self._fault(section, name[:60], f"expected one of {', '.join(known)}")
            try:
                values[name] = _value(known[name], value)
            except ValueError as error:
                raise self._fault(section, name, str(error)) from error
        try:
            return dataclasses.replace(current, **values)  # type: ignore[type-var]
        except ValueError as error:
            # A record says which value cannot be; of one that names none, the section is told.
            named = [name for name in values if name in str(error)]
            raise self._fault(section, named[0] if named else "", str(error)) from error


def _value(default: Any, value: Any) -> Any:
    """``value`` where it is of the kind of ``default``: text, a whole number, a finite number.

    TOML knows ``nan`` and ``inf``; a limit of either refuses everything or nothing.

    Raises:
        ValueError: it is of another kind.
    """
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ValueError(f"expected text, got {str(value)[:60]}")
        return value
    kinds = int if isinstance(default, int) else int | float
    sound = isinstance(value, kinds) and not isinstance(value, bool)
    # Compared, not converted: a whole number of 400 digits is above every float.
    if not (sound and abs(value) <= _LARGEST):
        raise ValueError(f"expected a number like {default}, got {str(value)[:60]}")
    return type(default)(value)
