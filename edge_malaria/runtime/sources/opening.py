"""Opening a source: files, folders, globs, video, cameras, a watched folder, a drawn slide.

``open_source`` gives one iterator whatever stands behind it. A file that cannot be read does not
end the slide: it comes as ``Unreadable`` and is refused with that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_malaria.errors import ImageError, UsageError
from edge_malaria.runtime.sources.base import Source, SourceSettings
from edge_malaria.runtime.sources.cameras import open_camera
from edge_malaria.runtime.sources.files import FileSource, FollowedFolder, expanded, listed, named
from edge_malaria.runtime.sources.video import VIDEO_SUFFIXES, VideoSource


def open_source(
    specs: Sequence[str], *, follow: bool = False, settings: SourceSettings | None = None
) -> Source:
    """The source behind what the user named.

    Args:
        specs: files, a folder, a glob, a video, ``camera:N``, ``picamera`` or ``sim:...``.
        follow: watch a folder for fields that another program writes.
        settings: by default those of quality.toml.

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
        return FileSource(named([p for spec in specs for p in expanded(spec)]))
    if follow:
        if not Path(first).is_dir():
            raise UsageError(f"--follow needs an existing folder, got {first}.")
        return FollowedFolder(Path(first), how)
    if first.startswith("sim:") or first == "sim":
        from edge_malaria.runtime.sources.simulated import SimulatedSource

        return SimulatedSource(first)
    if first.startswith("camera:") or first == "picamera":
        return open_camera(first, how)
    path = Path(first)
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, how)
    if path.is_dir():
        found = listed(path)
        if not found:
            raise ImageError(f"{path} holds no images.")
        return FileSource(found)
    return FileSource(named(expanded(first)))
