"""Reading a bundle: what is verified, and what each damage is called."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.errors import BundleIntegrityError, BundleSchemaError, UsageError


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def edit_index(path: Path, **changes: object) -> None:
    record = json.loads((path / "bundle.json").read_text())
    record.update(changes)
    (path / "bundle.json").write_text(json.dumps(record))


def test_a_bundle_names_its_variants_honestly(tiny_bundle: Path) -> None:
    spec = read_bundle(tiny_bundle).classifier
    assert set(spec.variants) == {"float32", "float16", "dynamic", "int8"}
    names = {v: {f.quantization for f in files.values()} for v, files in spec.variants.items()}
    assert names == {v: {v} for v in spec.variants}
    for engine in ("litert", "onnx"):
        file = spec.file("int8", engine)
        assert (file.input.dtype, file.input.scale, file.input.zero_point) == ("int8", 1.0, -128)
        assert file.output.dtype == "int8"
    assert spec.file("int8", "litert").output.scale == spec.file("int8", "onnx").output.scale


def test_a_zip_of_a_bundle_reads_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    packed = tmp_path / "bundle.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(tiny_bundle.rglob("*")):
            archive.write(path, Path("some-folder") / path.relative_to(tiny_bundle))
    assert read_bundle(packed).contents == read_bundle(tiny_bundle).contents


def test_every_single_changed_file_is_noticed(copy: Path) -> None:
    files = [p for p in sorted(copy.rglob("*")) if p.is_file() and p.name != "bundle.json"]
    assert len(files) > 10
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(BundleIntegrityError, match=path.name):
            read_bundle(copy)
        path.write_bytes(data)
    read_bundle(copy)


def test_missing_extra_and_damaged_files_have_names(copy: Path, tmp_path: Path) -> None:
    (copy / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleIntegrityError, match="not recorded"):
        read_bundle(copy)
    (copy / "extra.bin").unlink()
    (copy / "model.int8.tflite").unlink()
    with pytest.raises(BundleIntegrityError, match="is missing"):
        read_bundle(copy)
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleIntegrityError, match="damaged"):
        read_bundle(copy)
    with pytest.raises(BundleSchemaError, match="does not exist"):
        read_bundle(tmp_path / "none")


def test_a_newer_schema_and_another_contract_are_refused(copy: Path) -> None:
    edit_index(copy, schema_version=99)
    with pytest.raises(BundleSchemaError, match="Update edge-malaria"):
        read_bundle(copy)
    record = json.loads((copy / "bundle.json").read_text())
    record["schema_version"] = 1
    record["models"]["classifier"]["preprocessing"]["steps"][1] = "resize-bicubic"
    (copy / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(BundleSchemaError, match="preprocessing contract"):
        read_bundle(copy)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 2, "0.5", None])
def test_a_threshold_that_is_no_probability_is_refused(copy: Path, value: object) -> None:
    record = json.loads((copy / "bundle.json").read_text())
    record["models"]["classifier"]["decision"]["operating_points"]["balanced"]["threshold"] = value
    write_index(copy, {k: v for k, v in record.items() if k != "files"})
    with pytest.raises(BundleSchemaError, match="threshold"):
        read_bundle(copy).classifier.threshold("balanced")


def test_what_a_bundle_lacks_is_said_with_what_it_has(tiny_bundle: Path) -> None:
    spec = read_bundle(tiny_bundle).classifier
    with pytest.raises(UsageError, match="float16/litert"):
        spec.file("float16", "onnx")
    with pytest.raises(UsageError, match="balanced"):
        spec.threshold("brave")


def test_the_essentials_stand_inside_each_model_file(tiny_bundle: Path) -> None:
    with zipfile.ZipFile(tiny_bundle / "model.int8.tflite") as archive:
        facts = json.loads(archive.read("metadata.json"))
    assert facts["quantization"] == "int8"
    assert facts["preprocessing"]["interpolation"] == "INTER_AREA"
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(tiny_bundle / "model.int8.onnx")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["edge_malaria.input"] == "1.0 -128"
    assert "research use only" in metadata["edge_malaria.notice"]
