"""The manifest of a batch: a CSV with one row a slide, read whole and refused whole.

Columns: ``slide`` (its name, also the name of its report directory), ``source`` (a folder, a glob,
a film, ``sim:...`` or a URL that fsspec reads), and perhaps ``site`` (where it was made, or the
path of a site profile) and ``reference`` (``positive`` or ``negative``, by another method).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_malaria.data.tables import read_table
from edge_malaria.errors import DataError

Reference = Literal["positive", "negative", ""]
COLUMNS = ("slide", "source", "site", "reference")
REFERENCES: dict[str, Reference] = {"positive": "positive", "negative": "negative", "": ""}
# A name becomes a directory on every file system that a batch may be copied to.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED = {"con", "prn", "aux", "nul"}


@dataclass(frozen=True)
class Slide:
    """One row.

    Attributes:
        name: of the slide and of its report directory.
        source: what ``screen`` would be given, or an fsspec URL.
        site: as the row names it; "" where it names none.
        reference: what another method found; "" where unknown.
    """

    name: str
    source: str
    site: str = ""
    reference: Reference = ""

    @property
    def remote(self) -> bool:
        """Whether the source is a URL, to be fetched before it is screened."""
        return "://" in self.source

    @property
    def profile(self) -> str:
        """The path of the site profile that the row names, "" where it names a place only."""
        return self.site if self.site.lower().endswith(".json") else ""


def read_manifest(path: Path) -> tuple[Slide, ...]:
    """Reads and checks every row, as Excel too writes it; relative sources start at its folder.

    Raises:
        DataError: not readable, an unknown or missing column, a row without slide or source, a name
            that no directory can have, one name twice (case does not count), an unknown reference.
    """
    table = read_table(path)
    if not {"slide", "source"} <= set(table.keys):
        raise DataError(
            f"{path}: expected the columns slide,source[,site,reference], "
            f"got {','.join(table.columns)}."
        )
    unknown = sorted(set(table.keys) - set(COLUMNS))
    if unknown:
        raise DataError(f"{path}: unknown column {unknown[0]!r}; known are {', '.join(COLUMNS)}.")
    slides: list[Slide] = []
    seen: dict[str, int] = {}
    for number, record in zip(table.lines, table.records, strict=True):
        slide = _slide(path, number, record)
        before = seen.setdefault(slide.name.casefold(), number)
        if before != number:
            raise DataError(f"{path}:{number}: slide {slide.name!r} stands in row {before} too.")
        slides.append(slide)
    if not slides:
        raise DataError(f"{path} names no slide.")
    return tuple(slides)


def _slide(path: Path, number: int, record: Mapping[str, str]) -> Slide:
    values = {name: record.get(name, "") for name in COLUMNS}
    name, source = values["slide"], values["source"]
    if not name or not source:
        raise DataError(
            f"{path}:{number}: expected a slide and a source, got {name!r}, {source!r}."
        )
    if not _NAME.fullmatch(name) or name.casefold() in _RESERVED or name.endswith("."):
        raise DataError(
            f"{path}:{number}: {name!r} cannot name a directory: letters, digits, dot, dash and "
            "underscore only, at most 100."
        )
    reference = REFERENCES.get(values["reference"].lower())
    if reference is None:
        raise DataError(
            f"{path}:{number}: expected the reference positive, negative or nothing, got "
            f"{values['reference']!r}."
        )
    return Slide(name, _from(path.parent, source), _site(path.parent, values["site"]), reference)


def _from(folder: Path, source: str) -> str:
    if "://" in source or source.startswith(("sim:", "camera:")) or Path(source).is_absolute():
        return source
    return str((folder / source).resolve())


def _site(folder: Path, site: str) -> str:
    return _from(folder, site) if site.lower().endswith(".json") else site
