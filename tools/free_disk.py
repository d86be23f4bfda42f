"""Ends with one line and exit code 5 where less of a disk is free than a command needs.

    python3 tools/free_disk.py NAME GIGABYTES

Looks at the disk of this checkout and at that of temporary files (``TMPDIR``). The standard library
alone, for ``.ci/run`` asks before anything is installed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_ENOUGH = 5


def shortage(name: str, needed_gb: float, folders: list[Path]) -> str:
    """What is wrong, in one line; empty where each disk has ``needed_gb`` free (GB, 10^9 bytes)."""
    for folder in folders:
        free_gb = shutil.disk_usage(folder).free / 1e9
        if not free_gb >= needed_gb:
            return (
                f"error: {name} needs {needed_gb:g} GB free on the disk of {folder}, got "
                f"{free_gb:.1f}. Free some, or put temporary files elsewhere: TMPDIR=FOLDER."
            )
    return ""


def main(words: list[str]) -> int:
    """The exit code."""
    name, needed = words
    found = shortage(name, float(needed), [ROOT, Path(tempfile.gettempdir())])
    if found:
        print(found, file=sys.stderr)
    return NOT_ENOUGH if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
