"""Whether a disk keeps what is written to it, and how much room it has."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge_malaria.errors import StorageError

MOUNTS = Path("/proc/self/mounts")
# What is written there is gone when the machine is switched off.
FORGETTING = {"overlay": "an overlay", "tmpfs": "memory", "ramfs": "memory"}


@dataclass(frozen=True)
class Room:
    """Free and total space of a disk, bytes."""

    free_bytes: int
    total_bytes: int

    @property
    def scarce(self) -> bool:
        """Less than 200 MB or 2 % left: time to move slides away."""
        return not (self.free_bytes >= max(200_000_000, self.total_bytes // 50))


def room(path: Path) -> Room:
    """How much room the disk below ``path`` has."""
    usage = shutil.disk_usage(path)
    return Room(usage.free, usage.total)


def file_system(path: Path, mounts: Path = MOUNTS) -> tuple[str, bool]:
    """(type, read-only) of the file system below ``path``; ("", False) where it is not told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "", False
    where = str(path.resolve())
    best, found = "", ("", False)
    for line in lines:
        parts = line.split()
        if len(parts) < 4:
            continue
        # Spaces in a mount point are written as \040.
        point = parts[1].replace("\\040", " ")
        inside = point == "/" or where == point or where.startswith(point + "/")
        if inside and len(point) >= len(best):
            best, found = point, (parts[2], "ro" in parts[3].split(","))
    return found


def check_keeps(directory: Path, mounts: Path = MOUNTS) -> None:
    """Refuses a directory whose disk is write-protected, or forgets at the next switch-off.

    ``EDGE_MALARIA_FORGETFUL_DISK=1`` allows a disk that forgets, for tests and demonstrations.

    Raises:
        StorageError: says which, and what to do.
    """
    kind, read_only = file_system(directory, mounts)
    if read_only or not os.access(directory, os.W_OK):
        raise StorageError(
            f"{directory} is write-protected. Choose a folder on a disk that can be written, "
            "or remount it: sudo mount -o remount,rw MOUNTPOINT."
        )
    allowed = os.environ.get("EDGE_MALARIA_FORGETFUL_DISK") == "1"
    if kind in FORGETTING and not allowed:
        raise StorageError(
            f"{directory} lies in {FORGETTING[kind]} ({kind}): results would be gone when the "
            "machine is switched off. Choose a folder on a real disk. On a Raspberry Pi, "
            "raspi-config > Performance > Overlay File System switches the overlay off."
        )
