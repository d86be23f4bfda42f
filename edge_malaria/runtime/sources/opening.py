"""Opening a source: files, folders, globs, video, cameras, a watched folder, a drawn slide.

``open_source`` gives one iterator whatever stands behind it. A file that cannot be read does not
end the slide: it comes as ``Unreadable`` and is refused with that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_malaria.errors import ImageError, UsageError
from edge_malaria.files import printable
from edge_malaria.runtime.sources.base import CameraSettings, Source, SourceSettings
from edge_malaria.runtime.sources.camera_opening import open_camera
from edge_malaria.runtime.sources.files import FileSource
from edge_malaria.runtime.sources.following import FollowedFolder
from edge_malaria.runtime.sources.listing import Listing, expanded, kind_of_file, named
from edge_malaria.runtime.sources.video import VideoSource


def open_source(
    specs: Sequence[str],
    *,
    follow: bool = False,
    settings: SourceSettings | None = None,
    camera: CameraSettings | None = None,
) -> Source:
    """The source behind what the user named.

    Args:
        specs: files, a folder, a glob, a video, ``camera:N``, ``picamera`` or ``sim:...``.
        follow: watch a folder for fields that another program writes.
        settings: by default those of quality.toml.
        camera: by default those of quality.toml.

    Raises:
        UsageError: nothing of that name, or a combination that makes no sense.
        ImageError: a folder or glob without images.
    """
    how = settings or SourceSettings()
    if not specs:
        raise UsageError("no source: give files, a folder, a video, camera:0, picamera or sim:")
    first = specs[0]
    if len(specs) > 1:
        if follow:
            raise UsageError("--follow watches one folder.")
        return _of_listings([expanded(spec) for spec in specs], specs, how)
    if follow:
        if not Path(first).is_dir():
            raise UsageError(f"--follow needs an existing folder, got {printable(first)}.")
        return FollowedFolder(Path(first), how)
    if first.startswith("sim:") or first == "sim":
        from edge_malaria.runtime.sources.simulated import SimulatedSource

        return SimulatedSource(first)
    if first.startswith("camera:") or first == "picamera":
        return open_camera(first, how, camera)
    path = Path(first)
    if path.is_file() and kind_of_file(path) == "film":
        return VideoSource(path, how)
    return _of_listings([expanded(first)], specs, how)


def _of_listings(
    listings: Sequence[Listing], specs: Sequence[str], how: SourceSettings
) -> FileSource:
    """The files of what was named; a glob's films count, a folder's are left out and named.

    Raises:
        ImageError: no picture at all.
    """
    files: list[Path] = []
    told: list[str] = []
    for spec, listing in zip(specs, listings, strict=True):
        folder = Path(spec).is_dir()
        files += listing.pictures if folder else sorted([*listing.pictures, *listing.films])
        rest = listing if folder else replace(listing, films=[])
        told += rest.left_out(printable(spec))
    if not files:
        raise ImageError(
            " ".join([f"{printable(specs[0])} holds no pictures that can be read.", *told])
        )
    root = Path(specs[0]) if len(specs) == 1 and Path(specs[0]).is_dir() else None
    return FileSource(named(list(dict.fromkeys(files)), root), how, told, root)
