"""What a folder or a glob holds: pictures and films by their content, and what is left out."""

from __future__ import annotations

import glob as globbing
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_malaria.errors import ImageError, UsageError
from edge_malaria.files import is_image, printable
from edge_malaria.image_files.content import HEAD_BYTES, Content, content_of

# A report directory lies where its journal lies: its pictures are no fields.
_REPORT_MARK = "journal.jsonl"
_TEMPORARY = (".", "~", "#")
_TEMPORARY_SUFFIXES = (".part", ".tmp", ".partial", ".crdownload", ".filepart")
# Cameras' raw data and HEIC: like TIFF or MP4 inside, and nothing here can read them.
_RAW_SUFFIXES = (
    ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".heic", ".heif",
)  # fmt: skip
_FILM_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".h264")
# So many names of files stand in a warning.
_NAMED = 5


@dataclass(frozen=True)
class Listing:
    """What is there.

    Attributes:
        pictures: files that are pictures by content or by name.
        films: films, which only count when they are named themselves.
        others: files that nothing here reads.
        reports: report directories, whose pictures are no fields.
        closed: folders that could not be opened.
    """

    pictures: list[Path] = field(default_factory=list)
    films: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)

    def left_out(self, where: object) -> list[str]:
        """What was left out of ``where``, each kind with its number; [] for nothing."""
        texts = []
        if self.others:
            kinds = Counter(p.suffix.lower() or "without an ending" for p in self.others)
            counted = ", ".join(f"{n} {printable(kind)}" for kind, n in sorted(kinds.items()))
            texts.append(
                f"{_many(self.others, 'file')} in {where} left out, no pictures that can be read: "
                f"{counted} ({_some(self.others)})."
            )
        if self.films:
            texts.append(
                f"{_many(self.films, 'film')} in {where} left out, screen a film by itself: "
                f"{_some(self.films)}."
            )
        if self.reports:
            texts.append(
                f"{_many(self.reports, 'earlier report')} in {where} left out: "
                f"{_some(self.reports)}."
            )
        if self.closed:
            texts.append(
                f"{_many(self.closed, 'folder')} in {where} could not be opened: "
                f"{_some(self.closed)}."
            )
        return texts


def _many(paths: Sequence[Path], word: str) -> str:
    return f"{len(paths)} {word}{'' if len(paths) == 1 else 's'}"


def _some(paths: Sequence[Path]) -> str:
    more = " ..." if len(paths) > _NAMED else ""
    return ", ".join(printable(path.name) for path in paths[:_NAMED]) + more


def kind_of_file(path: Path) -> Content:
    """``picture``, ``film`` or "": by content, else by the name's end.

    A file that is called like a picture and is none inside is refused by name, as a damaged one is.
    """
    if path.suffix.lower() in _RAW_SUFFIXES:
        return ""
    try:
        with path.open("rb") as handle:
            found = content_of(handle.read(HEAD_BYTES))
    except OSError:
        found = ""
    if found or is_image(path):
        return found or "picture"
    return "film" if path.suffix.lower() in _FILM_SUFFIXES else ""


def usable_name(name: str) -> bool:
    """Whether a file of this name may be looked at: not hidden, not still being written."""
    return not name.startswith(_TEMPORARY) and not name.lower().endswith(_TEMPORARY_SUFFIXES)


def listed(folder: Path) -> Listing:
    """What lies in ``folder`` and below it, sorted; hidden files and folders stay out."""
    found = Listing()
    seen: set[str] = set()

    def closed(error: OSError) -> None:
        found.closed.append(Path(error.filename or folder))

    for here, folders, names in os.walk(folder, onerror=closed, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        if _REPORT_MARK in names:
            found.reports.append(Path(here))
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if usable_name(name):
                _sort_in(Path(here) / name, found)
    for paths in (found.pictures, found.films, found.others):
        paths.sort()
    return found


def _sort_in(path: Path, found: Listing) -> None:
    kind = kind_of_file(path) if path.is_file() else ""
    {"picture": found.pictures, "film": found.films, "": found.others}[kind].append(path)


def named(files: Sequence[Path], folder: Path | None = None) -> list[tuple[str, Path]]:
    """(name, path) of ``files``; a name that two of them share becomes a path."""
    times = Counter(printable(path.name) for path in files)

    def name(path: Path) -> str:
        short = printable(path.name)
        if times[short] == 1:
            return short
        return printable((path.relative_to(folder) if folder else path).as_posix())

    return [(name(path), path) for path in files]


def expanded(spec: str) -> Listing:
    """The files that a path or glob names; a file that is named itself counts as it is.

    Raises:
        UsageError: nothing of that name.
        ImageError: a glob that matches no picture.
    """
    path = Path(spec)
    if path.is_file():
        return Listing([path])
    if path.is_dir():
        return listed(path)
    if globbing.has_magic(spec):
        found = Listing()
        for match in sorted(Path(p) for p in globbing.glob(spec, recursive=True)):
            if match.is_file():
                _sort_in(match, found)
        if not found.pictures and not found.films:
            raise ImageError(f"{printable(spec)} matches no picture.")
        return found
    raise UsageError(
        f"no such source: {printable(spec)}. Give files, a folder, a video, camera:0 or sim:"
    )
