"""The bundle: a directory (or one .zip of it) with models, thresholds, goldens and provenance.

It is data only; nothing in it is executed. ``bundle.json`` records every other file's size and
SHA-256, and its own (``index.py``). Reading verifies them, and hands out the very bytes that were
verified. See docs/BUNDLE.md for every key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_malaria.bundle.contents import INDEX, SECOND, read_contents
from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.bundle.index import (
    SEAL,
    as_object,
    canonical_sha256,
    check_gate,
    check_model,
    check_seal,
    is_whole,
    need,
    parse_index,
)
from edge_malaria.bundle.spec import VARIANTS, Bundle, ModelSpec, sha256_hex
from edge_malaria.errors import BundleIntegrityError, BundleSchemaError
from edge_malaria.files import write_json
from edge_malaria.prepare.contract import Preparation
from edge_malaria.records import expect

FORMAT = "edge-malaria-bundle"
# 2: flagged cells may be asked again. 3: by a second network. An index that does not ask for it
# stays at 1, so that older versions read it; one that does is refused by them in place of being
# decided otherwise.
SCHEMA_VERSION = 3


def file_record(data: bytes) -> dict[str, Any]:
    """Size and hash, as ``files`` in bundle.json records them."""
    return {"bytes": len(data), "sha256": sha256_hex(data)}


def write_index(directory: Path, record: Mapping[str, Any]) -> None:
    """Writes bundle.json over the directory's files: ``files`` with sizes and hashes, its own hash.

    Raises:
        ValueError: a number that is NaN or infinite.
    """
    files = {
        path.relative_to(directory).as_posix(): file_record(path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / INDEX
    }
    head = {"format": FORMAT, "schema_version": _schema_of(record)}
    full = {**head, **record, **head, "files": files}
    full.pop(SEAL, None)
    write_json(directory / INDEX, {**full, SEAL: canonical_sha256(full)})


def _schema_of(record: Mapping[str, Any]) -> int:
    """The lowest schema that says what ``record`` says."""
    value: Any = record
    for key in ("models", "classifier", "decision"):
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return 1
    if value.get("second") is not None:
        return 3
    return 2 if value.get("flagged_views", 1) != 1 else 1


def read_bundle(path: Path | str, *, proven: bool = True) -> Bundle:
    """Reads and verifies a bundle directory or zip.

    Args:
        path: of the directory or zip.
        proven: refuse a model whose parity gate did not pass; False while it is being proven.

    Raises:
        BundleSchemaError: missing, no bundle, written by a newer version, or a value in
            bundle.json is not what it should be.
        BundleIntegrityError: a recorded file is missing or differs, one is not recorded, or
            bundle.json was edited.
    """
    return verified(Path(path), read_contents(Path(path)), proven=proven)


class _Hashes:
    """SHA-256 of files in memory, of each once: several records name one and the same bytes."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes, str]] = {}

    def __call__(self, data: bytes) -> str:
        # The bytes are kept beside their hash, so no others can come to have their id.
        if id(data) not in self._known:
            self._known[id(data)] = data, sha256_hex(data)
        return self._known[id(data)][1]


def verified(path: Path, files: Mapping[str, bytes], *, proven: bool = True) -> Bundle:
    """``read_bundle`` of files that are in memory already; ``path`` is what messages name."""
    return _verified(path, files, proven, _Hashes())


def _verified(path: Path, files: Mapping[str, bytes], proven: bool, hash_of: _Hashes) -> Bundle:
    contents = dict(files)
    if INDEX not in contents:
        raise BundleSchemaError(f"{path} is not a bundle: it has no {INDEX}.")
    try:
        record = parse_index(contents.pop(INDEX))
    except ValueError as error:  # bytes that are no text are one too
        raise BundleIntegrityError(f"{path}/{INDEX} is damaged: {error}.") from error
    _check_schema(path, record)
    _check_files(path, record, contents, hash_of)
    bundle = _bundle(path, record, contents, proven)
    _check_model_files(path, bundle, hash_of)
    if bundle.classifier.decision.second_from is not None:
        bundle = replace(bundle, second=_second(bundle, proven, hash_of))
    try:
        check_seal(record)
    except ValueError as error:
        raise BundleIntegrityError(f"{path}/{INDEX}: {error}.") from error
    return bundle


def _second(bundle: Bundle, proven: bool, hash_of: _Hashes) -> Bundle:
    """The bundle of the second network, out of the files of its own folder."""
    start = f"{SECOND}/"
    inside = {
        name.removeprefix(start): data
        for name, data in bundle.contents.items()
        if name.startswith(start)
    }
    second = _verified(bundle.path / SECOND, inside, proven, hash_of)
    mine, theirs = bundle.classifier.preparation, second.classifier.preparation
    if mine != theirs:
        raise BundleSchemaError(
            f"{bundle.path}/{INDEX}: cells are prepared otherwise than for the second network. "
            "Export the bundle again."
        )
    if second.second is not None:
        raise BundleSchemaError(f"{second.path}: a second network cannot ask another one.")
    return second


def _bundle(
    path: Path, record: Mapping[str, Any], contents: Mapping[str, bytes], proven: bool
) -> Bundle:
    try:
        models = as_object(record.get("models"), "models")
        for name, model in models.items():
            check_model(name, model)
            if proven:
                check_gate(name, model)
        specs = {name: _model(model) for name, model in models.items()}
        for key in ("name", "version"):
            need(isinstance(record.get(key), str), key, "a word", record.get(key))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleSchemaError(f"{path}/{INDEX}: bad or missing key: {error}.") from error
    if "classifier" not in specs:
        raise BundleSchemaError(f"{path}/{INDEX}: no classifier among models.")
    return Bundle(path, record["name"], record["version"], specs, record, contents)


def _check_schema(path: Path, record: Any) -> None:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise BundleSchemaError(f"{path}/{INDEX}: expected format {FORMAT!r}.")
    version = record.get("schema_version")
    if not is_whole(version, 1, SCHEMA_VERSION):
        raise BundleSchemaError(
            f"{path}: bundle schema {str(version)[:40]}, this edge-malaria reads up to "
            f"{SCHEMA_VERSION}. Update edge-malaria."
        )


def _check_files(
    path: Path,
    record: Mapping[str, Any],
    contents: Mapping[str, bytes],
    hash_of: Callable[[bytes], str] = sha256_hex,
) -> None:
    recorded = record.get("files") or {}
    sound = isinstance(recorded, dict) and all(isinstance(e, dict) for e in recorded.values())
    if not sound:
        raise BundleSchemaError(f"{path}/{INDEX}: files: expected an object of files.")
    for name, entry in recorded.items():
        if name not in contents:
            raise BundleIntegrityError(f"{path}: {name} is missing. Copy or export it again.")
        got = hash_of(contents[name])
        if got != entry.get("sha256"):
            raise BundleIntegrityError(
                f"{path}/{name} was changed or damaged: expected sha256 "
                f"{str(entry.get('sha256'))[:12]}…, got {got[:12]}…. Copy or export it again."
            )
    extra = sorted(set(contents) - set(recorded))
    if extra:
        raise BundleIntegrityError(f"{path}: {extra[0]} is not recorded in {INDEX}.")


def _model(value: Mapping[str, Any]) -> ModelSpec:
    preparation = _preparation(value) if value["task"] == "classify-cell" else None
    variants = {
        name: {entry["engine"]: FileSpec.from_json(entry) for entry in entries}
        for name, entries in value["variants"].items()
    }
    unknown = sorted(set(variants) - set(VARIANTS))
    expect(not unknown, f"variants in {VARIANTS}", unknown)
    return ModelSpec(
        str(value["task"]),
        tuple(value["labels"]),
        int(value["preprocessing"].get("size_px", 0)),
        variants,
        DecisionRecord.from_json(value.get("decision", {})),
        value,
        preparation,
    )


def _preparation(value: Mapping[str, Any]) -> Preparation:
    recorded = value["preprocessing"]
    try:
        made = Preparation.from_json(recorded)
        for key, wanted in made.as_json().items():
            need(recorded.get(key) == wanted, key, repr(wanted), recorded.get(key))
        return made
    except ValueError as error:
        raise ValueError(
            f"preprocessing contract: {error}: this edge-malaria cannot prepare cells for that "
            "model"
        ) from error


def _check_model_files(path: Path, bundle: Bundle, hash_of: _Hashes) -> None:
    for model in bundle.models.values():
        for files in model.variants.values():
            for spec in files.values():
                data = bundle.read(spec.file)
                if hash_of(data) != spec.sha256 or len(data) != spec.bytes:
                    raise BundleIntegrityError(
                        f"{path}: {spec.file} is not the file that its variant records."
                    )
