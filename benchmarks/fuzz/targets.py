"""Everything that reads a file: sound files to start from, and what is called with a damaged one.

A target takes the damaged bytes. It may return, or raise one of this package's errors or what its
docstring promises (``allowed``); anything else is a finding.
"""

from __future__ import annotations

import json
import shutil
import zlib
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.fuzz.outcomes import Target
from benchmarks.fuzz.seeds import (
    MICRO,
    backup_zip,
    bundle_zip,
    clip,
    dataset_folder,
    dataset_zip,
    lines,
    micro,
    pictures,
    scratch,
)
from edge_malaria.batch.manifest import read_manifest
from edge_malaria.bundle.contents import read_contents
from edge_malaria.bundle.format import verified
from edge_malaria.bundle.golden import load_arrays, read_goldens
from edge_malaria.bundle.signing import check_signature
from edge_malaria.data.dataset import open_dataset
from edge_malaria.data.splits import read_mapping
from edge_malaria.errors import EdgeMalariaError
from edge_malaria.files import decode_image
from edge_malaria.parity import onnx_file, tflite_file
from edge_malaria.parity.metadata import read_metadata
from edge_malaria.parity.names import metadata_failures
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.slide import journal, journal_file, line_coding
from edge_malaria.runtime.slide.site_profile import read_site
from edge_malaria.runtime.sources.base import SourceSettings
from edge_malaria.runtime.sources.files import read_fields
from edge_malaria.runtime.sources.video import VideoSource
from edge_malaria.runtime.store.backup import restore_backup

CONFIG = Path(load_config.__code__.co_filename).with_name("quality.toml")


def _file(data: bytes, name: str) -> Path:
    path = scratch() / name
    path.write_bytes(data)
    return path


def _index(data: bytes) -> None:
    """bundle.json alone: everything but the other files' hashes and its own is looked at."""
    from edge_malaria.bundle import format as bundle_format
    from edge_malaria.bundle.index import parse_index

    record = parse_index(data)
    bundle_format._check_schema(MICRO, record)
    bundle = bundle_format._bundle(MICRO, record, {}, True)
    for point in bundle.classifier.decision.thresholds:
        decision = Decision(bundle.classifier, bundle.classifier.threshold(point))
        decision.probabilities(np.zeros(2, np.float32))
    bundle_format._check_files(MICRO, {**record, "files": {}}, {})


def _zip(data: bytes) -> None:
    path = _file(data, "bundle.zip")
    verified(path, read_contents(path))


def _goldens(data: bytes) -> None:
    for name in ("keras.npz", "crops/inputs.npz"):
        load_arrays({f"golden/{name}": data}, name)
        try:
            read_goldens({**micro(), f"golden/{name}": data})
        except EdgeMalariaError:
            continue  # the seed of the other name


def _tflite(data: bytes) -> None:
    tflite_file.read_tensors(data, "model.tflite")
    tflite_file.produced_dtypes(data)
    _metadata(data, "litert")


def _onnx(data: bytes) -> None:
    onnx_file.read_tensors(data, "model.onnx")
    onnx_file.operator_types(data)
    _metadata(data, "onnx")


def _metadata(data: bytes, engine: str) -> None:
    spec = verified(MICRO, micro()).classifier
    metadata_failures("x", "int8", read_metadata(data, engine, "model"), spec)


def _picture(data: bytes) -> None:
    for count, _ in enumerate(read_fields(_file(data, "field.png"), "field.png", 0)):
        if count > 3:
            break
    image = decode_image(data, "cell.png")
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def _video(data: bytes) -> None:
    for count, _ in enumerate(VideoSource(_file(data, "slide.avi"), SourceSettings()).fields()):
        if count > 3:
            break


def _journal_line(data: bytes) -> None:
    """As it is, and with a right checksum, so that what follows the checksum is reached too."""
    body = data.partition(b',"crc32"')[0] + b"}"
    resealed = body[:-1] + b',"crc32":"%08x"}' % zlib.crc32(body)
    try:
        line_coding.decoded(resealed)
    except (EdgeMalariaError, ValueError):
        line_coding.decoded(data)


def _journal(data: bytes) -> None:
    place = scratch() / "slide"
    place.mkdir(exist_ok=True)
    (place / journal.NAME).write_bytes(data)
    journal_file.read_header(place / journal.NAME)
    with closing(journal.Journal(place, resume=True)) as opened:
        list(opened.lines())


def _dataset(data: bytes) -> None:
    found = open_dataset(_file(data, "cells.zip"))
    for row in found.rows[:2]:
        found.read(row)


def _patients(data: bytes) -> None:
    open_dataset(dataset_folder(), _file(data, "patients.csv"))


def _backup(data: bytes) -> None:
    place = scratch() / "restored"
    shutil.rmtree(place, ignore_errors=True)
    restore_backup(_file(data, "backup.zip"), place)


@cache
def targets() -> dict[str, Target]:
    """Name -> reader."""
    bundle = micro()
    table = b"file,class,patient_id,split\n" + b"".join(
        b"C%d_cell_%d.png,%s,P%d,test\n" % (i, i, name, i + len(name))
        for name in (b"Parasitized", b"Uninfected") for i in range(2)
    )  # fmt: skip
    signature = json.dumps({"public_key": "ab", "bundle_sha256": "0" * 64, "signature": "AAAA"})
    return {
        "index": Target([(MICRO / "bundle.json").read_bytes()], _index, 1.0, (ValueError,)),
        "bundle-zip": Target([bundle_zip()], _zip, 2.0),
        "goldens": Target([bundle["golden/keras.npz"], bundle["golden/crops/inputs.npz"]],
                          _goldens, 0.1),
        "tflite": Target([bundle["model.int8.tflite"], bundle["finder.int8.tflite"]], _tflite, 0.3),
        "onnx": Target([bundle["model.int8.onnx"]], _onnx, 0.1),
        "picture": Target(pictures(), _picture, 3.0),
        "video": Target([clip()], _video, 0.3),
        "journal-line": Target(lines(), _journal_line, 3.0, (ValueError,)),
        "journal": Target([b"".join(lines() * 2)], _journal, 2.0),
        "dataset-zip": Target([dataset_zip()], _dataset, 2.0),
        "backup": Target([backup_zip()], _backup, 1.0),
        "patients": Target([table], _patients, 1.0),
        "mapping": Target([b"file,patient_id\nC0_cell_0.png,P1\nC1_cell_1.png,P2\n"],
                          lambda data: read_mapping([_file(data, "mapping.csv")]), 3.0),
        "manifest": Target([b"slide,source,site,reference\na,fields/,,0.01\nb,more/,,\n"],
                           lambda data: read_manifest(_file(data, "manifest.csv")), 3.0),
        "configuration": Target([CONFIG.read_bytes()],
                                lambda data: load_config(_file(data, "quality.toml")), 1.0),
        "site": Target([b'{"schema_version": 1, "errors": {}, "limits": [[100, 0.1, 0.2]]}'],
                       lambda data: read_site(_file(data, "site.json")), 3.0),
        "signature": Target([signature.encode()],
                            lambda data: check_signature(_file(data, "s.sig"), b"{}", []),
                            3.0),
    }  # fmt: skip
