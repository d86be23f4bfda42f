"""Other laboratories' fields: which may train what ships, which only report, under what terms.

Every third picture by sorted name reports and never trains; of ``cheap_rig``, whose names begin
with the slide, every third slide. Sets whose terms are not stated, or that hold malaria with boxes,
never train what ships.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_malaria.errors import DatasetError, UsageError

Part = Literal["fit", "report", "all"]


@dataclass(frozen=True)
class FieldSet:
    """A folder of fields of one laboratory.

    Attributes:
        name: the folder's.
        laboratory: whose slides these are; sets of one laboratory are left out together.
        may_train: whether weights that ship may be fitted to it.
        licence: terms and where they come from.
        slide: what one slide is: ``all`` pictures in order, one ``picture``, the name's ``prefix``.
    """

    name: str
    laboratory: str
    may_train: bool
    licence: str
    slide: Literal["all", "picture", "prefix"]


SETS = {
    entry.name: entry
    for entry in (
        FieldSet("bccd", "bccd", True, "MIT (BCCD data set)", "all"),
        FieldSet("chula", "chula", True, "MIT (Chula RBC-12, Naruenatthanaset et al.)", "all"),
        FieldSet("chula_more", "chula", True, "MIT (Chula RBC-12)", "all"),
        FieldSet("chula_disease", "chula", True, "MIT (elliptocyte and anaemia sets)", "picture"),
        FieldSet("raabin", "raabin", True, "MIT (Raabin-WBC by way of TXL-PBC)", "picture"),
        FieldSet("pbc", "pbc", True, "CC BY 4.0 (Acevedo et al. 2020, Data in Brief)", "picture"),
        FieldSet("cheap_rig", "cheap_rig", True, "MIT (Chulalongkorn, embedded rig)", "prefix"),
        FieldSet("draaslan256", "draaslan256", True, "MIT (draaslan)", "picture"),
        FieldSet("phone_eyepiece", "phone_eyepiece", False, "terms not stated", "picture"),
        FieldSet("iml", "iml", False, "no licence stated", "all"),
        FieldSet("bbbc041", "bbbc041", False, "CC BY-NC-SA 3.0", "all"),
        FieldSet("mpidb_preview", "mpidb", False, "MIT (thumbnails of malaria fields)", "picture"),
    )
}
TRAINING_SETS = tuple(name for name, entry in SETS.items() if entry.may_train)
LABORATORIES = tuple(dict.fromkeys(SETS[name].laboratory for name in TRAINING_SETS))


def slide_of(name: str, picture: str) -> str:
    """The slide that a picture of the set ``name`` belongs to, as far as its name tells."""
    kind = SETS[name].slide
    if kind == "prefix":
        return picture.rsplit("_", 1)[0]
    return picture if kind == "picture" else name


def unit_of(name: str, picture: str) -> str:
    """What never lies in two parts: the slide where a set's names tell it, else the picture."""
    by_slide = name in SETS and SETS[name].slide == "prefix"
    return slide_of(name, picture) if by_slide else picture


def report_units(units: Iterable[str]) -> frozenset[str]:
    """The report third: of the distinct names, sorted, the third, the sixth and so on."""
    return frozenset(sorted(set(units))[2::3])


def field_files(fields: Path, name: str, part: Part) -> list[Path]:
    """The pictures of a set's part, sorted by name.

    Raises:
        UsageError: an unknown set.
        DatasetError: the set is not there.
    """
    if name not in SETS:
        raise UsageError(f"unknown field set {name}: expected one of {', '.join(SETS)}.")
    folder = fields / name / "images"
    if not folder.is_dir():
        raise DatasetError(f"no field set at {folder}.")
    files = sorted(folder.iterdir(), key=lambda path: path.name)
    if part == "all":
        return files
    units = [unit_of(name, path.name) for path in files]
    reports = report_units(units)
    pairs = zip(files, units, strict=True)
    return [path for path, unit in pairs if (unit in reports) == (part == "report")]


def training_files(fields: Path, name: str) -> list[Path]:
    """The pictures of a set that may train what ships.

    Raises:
        UsageError: the set must not teach.
    """
    if not (name in SETS and SETS[name].may_train):
        raise UsageError(
            f"the field set {name} must not train what ships: expected one of "
            f"{', '.join(TRAINING_SETS)}."
        )
    return field_files(fields, name, "fit")
