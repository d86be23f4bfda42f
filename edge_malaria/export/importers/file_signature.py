"""What a model's file really holds, by its first bytes, before a framework is asked to read it.

A download that went wrong leaves a web page, a pointer of Git LFS or half a file; a file that was
renamed holds another kind than its name says. Frameworks answer "file not found" or "corrupt" then.
"""

from __future__ import annotations

from pathlib import Path

from edge_malaria.errors import ModelFileError

_HEAD_BYTES = 512
_POINTER = b"version https://git-lfs"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
# The kinds that begin with a signature; ONNX has none. Keras files may have each other's names.
_SIGNATURES = (
    (0, b"\x89HDF\r\n\x1a\n", (".h5", ".hdf5", ".keras")),
    (0, b"PK\x03\x04", (".keras", ".h5", ".hdf5")),
    (4, b"TFL3", (".tflite",)),
)


def check_signature(path: Path) -> None:
    """Refuses a file that holds no model, or another kind than its name says.

    Args:
        path: an existing file of a kind that is imported.

    Raises:
        ModelFileError: what it holds instead, and what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}.") from error
    if not head.strip(b"\0 \t\r\n"):
        raise ModelFileError(f"{path} is empty. Copy or download it again.")
    if head.startswith(_POINTER):
        raise ModelFileError(
            f"{path} is a pointer of Git LFS, not the model itself. Fetch it: git lfs pull"
        )
    if head.lstrip().lower().startswith(_PAGES):
        raise ModelFileError(
            f"{path} is a web page, not a model. Download the file itself again (of a repository: "
            "its raw file)."
        )
    for place, mark, suffixes in _SIGNATURES:
        if head[place:].startswith(mark) and path.suffix.lower() not in suffixes:
            raise ModelFileError(
                f"{path} holds a {suffixes[0]} network, which its name does not say. Rename it to "
                f"{path.with_suffix(suffixes[0]).name} and export that."
            )
