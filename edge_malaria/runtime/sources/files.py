"""Fields from image files: in a given order, or in a folder that another program writes to."""

from __future__ import annotations

import glob as globbing
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from edge_malaria.errors import ImageError, UsageError
from edge_malaria.files import decode_image, is_image
from edge_malaria.records import Field
from edge_malaria.runtime.sources.base import SourceSettings, Unreadable
from edge_malaria.runtime.sources.whole_image import whole_image

_TEMPORARY = (".", "~", "#")


_TEMPORARY_SUFFIXES = (".part", ".tmp", ".partial", ".crdownload", ".filepart")


def read_field(path: Path, name: str, index: int) -> Field | Unreadable:
    """Reads one image file as a field."""
    try:
        data = path.read_bytes()
        if data and not whole_image(data):
            return Unreadable(name, index, f"{path} is cut off: it ends before the picture does.")
        return Field(decode_image(data, str(path)), name, index)
    except ImageError as error:
        return Unreadable(name, index, str(error))
    except OSError as error:
        return Unreadable(name, index, f"cannot read {path}: {error.strerror}.")


class FileSource:
    """Image files in a given order."""

    live = False

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        self.files = list(files)
        self.total: int | None = len(self.files)
        self.warnings: list[str] = []

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``."""
        for index, (name, path) in enumerate(self.files):
            if name not in skip:
                yield read_field(path, name, index)


class FollowedFolder:
    """A folder that another program writes into; takes each file once it is whole.

    A file is taken when its size and time stand still between two looks and its end is there.
    """

    live = True

    def __init__(self, folder: Path, settings: SourceSettings) -> None:
        self.folder, self.settings = folder, settings
        self.total: int | None = None
        self.warnings: list[str] = []

    def fields(self, skip: Container[str] = ()) -> Iterator[Field | Unreadable]:
        """See ``Source``; ends after ``follow_idle_s`` without a new field, if that is set."""
        seen: dict[str, tuple[int, int]] = {}
        taken: set[str] = set()
        index, last = 0, time.monotonic()
        while True:
            for name, path in listed(self.folder):
                if name in taken:
                    continue
                state = _state(path)
                if state is None or seen.get(name) != state:
                    if state is not None:
                        seen[name] = state
                    continue
                item = self._take(name, path, index)
                if item is None:
                    continue
                taken.add(name)
                seen.pop(name, None)
                last = time.monotonic()
                index += 1
                if name not in skip:
                    yield item
            idle = self.settings.follow_idle_s
            if idle > 0 and time.monotonic() - last > idle:
                self._leave_out(seen)
                return
            time.sleep(self.settings.poll_s)

    def _take(self, name: str, path: Path, index: int) -> Field | Unreadable | None:
        """The field, or None where the writer is not done: the end is missing but still young."""
        item = read_field(path, name, index)
        if isinstance(item, Field):
            return item
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:
            return None
        # A writer may pause; what is broken for half a minute stays broken.
        return item if age > max(30.0, 10 * self.settings.poll_s) else None

    def _leave_out(self, seen: dict[str, tuple[int, int]]) -> None:
        if seen:
            self.warnings.append(
                f"{len(seen)} files in {self.folder} were never whole: "
                f"{', '.join(sorted(seen)[:3])}."
            )


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size > 0 else None


def _usable(path: Path) -> bool:
    name = path.name
    return (
        is_image(path)
        and not name.startswith(_TEMPORARY)
        and not name.lower().endswith(_TEMPORARY_SUFFIXES)
    )


def listed(folder: Path) -> list[tuple[str, Path]]:
    """(name, path) of the images below ``folder``; names are file names, or relative paths where
    two files share one."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if _usable(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    return named(files, folder)


def named(files: Sequence[Path], folder: Path | None = None) -> list[tuple[str, Path]]:
    """(name, path) of ``files``; a name that two of them share becomes a path."""
    names = [path.name for path in files]
    twice = (
        {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    )
    if not twice:
        return list(zip(names, files, strict=True))
    return [
        (
            path.relative_to(folder).as_posix()
            if folder and path.name in twice
            else path.as_posix()
            if path.name in twice
            else path.name,
            path,
        )
        for path in files
    ]


def expanded(spec: str) -> list[Path]:
    """The image files that a path or glob names.

    Raises:
        UsageError: nothing of that name.
        ImageError: a glob that matches no image.
    """
    path = Path(spec)
    if path.is_file():
        return [path]
    if path.is_dir():
        return [file for _, file in listed(path)]
    if globbing.has_magic(spec):
        found = sorted(Path(p) for p in globbing.glob(spec, recursive=True) if is_image(p))
        if not found:
            raise ImageError(f"{spec} matches no image.")
        return found
    raise UsageError(f"no such source: {spec}. Give files, a folder, a video, camera:0 or sim:")
