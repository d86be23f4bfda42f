"""The bytes of a bundle's files, out of a directory or a zip, before any of them is trusted."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from edge_malaria.errors import BundleIntegrityError, BundleSchemaError, OutputExists

INDEX = "bundle.json"
# The folder of a bundle that holds the bundle of its second network.
SECOND = "second"
# The shipped bundle takes 4 MB; what unpacks to more than this is no bundle.
MAX_BUNDLE_BYTES = 512 << 20
# What systems leave in any folder they show; never read, never recorded.
_STRAY = (".DS_Store", "Thumbs.db", "desktop.ini")


def read_contents(path: Path) -> dict[str, bytes]:
    """Every file of a bundle directory or zip: name below its root -> bytes.

    Empty where there is no ``bundle.json``. What systems leave in any folder that they show
    (.DS_Store and its kin) is left out.

    Raises:
        BundleSchemaError: there is nothing at ``path``.
        BundleIntegrityError: neither a directory nor a sound zip, or far too large.
    """
    if path.is_dir():
        return _read_directory(path)
    if not path.exists():
        raise BundleSchemaError(f"bundle {path} does not exist. Make one with: edge-malaria export")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_zip(path, archive)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise BundleIntegrityError(f"{path} is neither a bundle nor a sound zip of one.") from error
    except (NotImplementedError, RuntimeError) as error:  # compression or encryption
        raise BundleIntegrityError(f"{path}: a zip that cannot be read: {error}.") from error


def expect_replaceable(path: Path) -> None:
    """Refuses to write a bundle over anything but a bundle: a name typed wrong deletes no cells.

    Raises:
        OutputExists: ``path`` is a file, or a folder of something else.
    """
    bare = path.is_dir() and not any(path.iterdir())
    if path.exists() and not bare and not (path / INDEX).is_file():
        raise OutputExists(f"{path} exists and is no bundle: it is kept. Choose another name.")


def _read_directory(path: Path) -> dict[str, bytes]:
    if not (path / INDEX).is_file():
        return {}  # any folder may be named: what is no bundle is not read
    found = [
        item
        for item in sorted(path.rglob("*"))
        if item.is_file() and "__pycache__" not in item.parts and not _is_stray(item.name)
    ]
    _check_size(path, sum(item.stat().st_size for item in found))
    return {item.relative_to(path).as_posix(): item.read_bytes() for item in found}


def _read_zip(path: Path, archive: zipfile.ZipFile) -> dict[str, bytes]:
    # A name may be empty in a damaged zip; is_dir would look at its last letter.
    entries = [entry for entry in archive.infolist() if entry.filename and not entry.is_dir()]
    names = [e.filename for e in entries if not _is_stray(PurePosixPath(e.filename).name)]
    # The index that lies least deep: a folder inside may hold another bundle.
    found = sorted((n for n in names if PurePosixPath(n).name == INDEX), key=lambda n: n.count("/"))
    if not found:
        return {}
    root = found[0][: -len(INDEX)]
    inside = [entry for entry in entries if entry.filename.startswith(root)]
    # The sizes that the directory of the zip promises: a false one ends as a damaged entry.
    _check_size(path, sum(entry.file_size for entry in inside))
    wanted = {entry.filename: entry for entry in inside if entry.filename in set(names)}
    if len(wanted) != sum(entry.filename in wanted for entry in inside):
        raise BundleIntegrityError(f"{path}: the zip holds a file twice.")
    return {name[len(root) :]: archive.read(entry) for name, entry in wanted.items()}


def _is_stray(name: str) -> bool:
    return name in _STRAY or name.startswith("._")


def _check_size(path: Path, size: int) -> None:
    if not (size <= MAX_BUNDLE_BYTES):
        raise BundleIntegrityError(
            f"{path} holds {size >> 20} MB, above the limit of {MAX_BUNDLE_BYTES >> 20} MB: "
            "it is no bundle."
        )
