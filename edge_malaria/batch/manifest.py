"""The manifest of a batch: a CSV with one row a slide, read whole and refused whole.

Columns: ``slide`` (its name, also the name of its report directory), ``source`` (a folder, a glob,
a film, ``sim:...`` or a URL that fsspec reads), and perhaps ``site`` (where it was made, or the
path of a site profile) and ``reference`` (``positive`` or ``negative``, by another method).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    """Reads and checks every row; relative sources start at the manifest's folder.

    Raises:
        DataError: not readable, an unknown or missing column, a row without slide or source, a name
            that no directory can have, one name twice (case does not count), an unknown reference.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}.") from error
    if "\0" in text:
        raise DataError(f"{path} cannot be read as a table: it holds zero bytes.")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise DataError(f"{path}:1: {error}.") from error
    if not {"slide", "source"} <= set(names):
        raise DataError(
            f"{path}: expected the columns slide,source[,site,reference], got {','.join(names)}."
        )
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown:
        raise DataError(f"{path}: unknown column {unknown[0]!r}; known are {', '.join(COLUMNS)}.")
    reader.fieldnames = names
    slides: list[Slide] = []
    seen: dict[str, int] = {}
    try:
        for row in reader:
            number = reader.line_num
            slide = _slide(path, number, row)
            before = seen.setdefault(slide.name.casefold(), number)
            if before != number:
                raise DataError(
                    f"{path}:{number}: slide {slide.name!r} stands in row {before} too."
                )
            slides.append(slide)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}.") from error
    if not slides:
        raise DataError(f"{path} names no slide.")
    return tuple(slides)


def _slide(path: Path, number: int, row: dict[str | None, str | None]) -> Slide:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if None in row:
        raise DataError(f"{path}:{number}: more values than columns. Quote a value with commas.")
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
