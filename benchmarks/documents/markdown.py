"""What tables of documents are made of: stored evidence, dotted paths, Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from benchmarks.evidence_file import EVIDENCE, ROOT, shipped_sha256
from edge_malaria.files import sha256_of

# Keys under which evidence names the classifier that it was measured with: the hash of what decides
# (``deciding_sha256``), or of one file of it.
DECIDING_KEYS = ("classifier_sha256", "int8_sha256", "default_int8_sha256")
FILE_KEYS = ("model_sha256", "keras_sha256")
# Evidence of a network of its own: no classifier that ships.
OF_OTHER_NETWORKS = ("segmentation_fcn",)
MODELS = ROOT / "edge_malaria" / "models"


@cache
def deciding_today() -> frozenset[str]:
    """What decides in the shipped bundles: one file, or the hash of both networks' files."""
    return frozenset(shipped_sha256(path.parent) for path in MODELS.glob("*/bundle.json"))


@cache
def shipped_files() -> frozenset[str]:
    """SHA-256 of every model file that ships, sources and exports."""
    kinds = (".keras", ".tflite", ".onnx")
    return frozenset(sha256_of(path) for path in MODELS.rglob("*") if path.suffix in kinds)


def named_classifiers(document: Any) -> Iterator[tuple[str, str]]:
    """Key and SHA-256 of each classifier that evidence says it was measured with.

    Hashes under other keys are not it: of networks that it is compared with, for example.
    """
    for key, value in document.items():
        if key in (*DECIDING_KEYS, *FILE_KEYS):
            yield key, str(value)
    if isinstance(cells := document.get("cells"), dict):
        yield from named_classifiers(cells)


def of_earlier_weights(name: str) -> bool:
    """Whether docs/evidence/``name``.json names a classifier that is not one of those that ship."""
    if name in OF_OTHER_NETWORKS:
        return False
    return any(
        sha256 not in deciding_today() and (key in DECIDING_KEYS or sha256 not in shipped_files())
        for key, sha256 in named_classifiers(evidence(name) or {})
    )


def evidence_words(name: str) -> str:
    """The evidence's name, and that it belongs to earlier weights where it does."""
    return f"{name} (earlier weights)" if of_earlier_weights(name) else name


def evidence(name: str) -> dict[str, Any] | None:
    """docs/evidence/``name``.json, None where it is not there."""
    path = EVIDENCE / f"{name}.json"
    return dict(_parsed(name, path.stat().st_mtime_ns)) if path.is_file() else None


@cache
def _parsed(name: str, changed_ns: int) -> dict[str, Any]:
    del changed_ns  # a file that was written anew is read anew
    return dict(json.loads((EVIDENCE / f"{name}.json").read_text(encoding="utf-8")))


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path; list indices are numbers, keys may hold dots themselves.

    Raises:
        KeyError: no such path.
    """
    if not path:
        return document
    words = path.split(".")
    if isinstance(document, list):
        return value_at(document[int(words[0])], ".".join(words[1:]))
    for count in range(1, len(words) + 1):
        key = ".".join(words[:count])
        if key in document:
            return value_at(document[key], ".".join(words[count:]))
    raise KeyError(path)


def figure(name: str, path: str, spec: str = ".4f") -> str:
    """One value of docs/evidence/``name``.json in a format; a dash where it is null.

    Raises:
        KeyError: the evidence or the path is not there.
    """
    document = evidence(name)
    if document is None:
        raise KeyError(f"docs/evidence/{name}.json")
    value = value_at(document, path)
    return "-" if value is None else format(value, spec)


def interval(name: str, path: str, spec: str = ".3f") -> str:
    """The words "low to high" of a pair of values."""
    return f"{figure(name, f'{path}.0', spec)} to {figure(name, f'{path}.1', spec)}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def number(value: Any, digits: int = 4) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
