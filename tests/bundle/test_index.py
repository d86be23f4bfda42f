"""bundle.json decides, so it is under a hash: no edit of a shipped bundle goes unnoticed."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_malaria.bundle.contents import MAX_BUNDLE_BYTES
from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.bundle.index import MAX_INDEX_BYTES, SEAL, parse_index
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.errors import BundleError, BundleIntegrityError, BundleSchemaError
from edge_malaria.parity import gate
from tests.cli import run_cli
from tests.parity.faults import messages, record_of
from tests.second import with_second

Record = dict[str, Any]


@pytest.fixture
def copy(shipped_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_bundle, tmp_path / "copy"))


def _classifier(record: Record) -> Record:
    found: Record = record["models"]["classifier"]
    return found


def _threshold(record: Record, value: object, point: str = "screening") -> None:
    _classifier(record)["decision"]["operating_points"][point]["threshold"] = value


EDITS: dict[str, Callable[[Record], object]] = {
    "screening threshold": lambda r: _threshold(r, 0.0001),
    "balanced threshold, slightly": lambda r: _threshold(r, 0.6874, "balanced"),
    "colour": lambda r: _classifier(r)["preprocessing"].update(colour="BGR"),
    "interpolation": lambda r: _classifier(r)["preprocessing"].update(interpolation="INTER_LINEAR"),
    "size": lambda r: _classifier(r)["preprocessing"].update(size_px=64),
    "gate": lambda r: _classifier(r)["gate"].update(passed=False),
    "finder's gate": lambda r: r["models"]["finder"]["gate"].update(passed=False),
    "gate left out": lambda r: _classifier(r).pop("gate"),
    "temperature": lambda r: _classifier(r)["decision"].update(temperature=0.9),
    "bias": lambda r: _classifier(r)["decision"].update(bias=0.0),
    "labels": lambda r: _classifier(r)["labels"].reverse(),
    "abstention": lambda r: _classifier(r)["decision"].pop("abstention"),
    "false positives": lambda r: _classifier(r)["decision"]["false_positives"].update(alpha=0.1),
    "provenance": lambda r: r["provenance"].update(seed=6),
    "name": lambda r: r.update(name="another"),
    "hash left out": lambda r: r.pop(SEAL),
    "a key more": lambda r: r.update(note="x"),
}


@pytest.fixture(scope="module")
def one_copy(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of which each edit replaces the index alone, by the shipped one with its change."""
    return Path(shutil.copytree(shipped_bundle, tmp_path_factory.mktemp("edited") / "copy"))


@pytest.mark.parametrize("name", EDITS)
def test_no_edit_of_a_shipped_index_goes_unnoticed(
    shipped_bundle: Path, one_copy: Path, name: str
) -> None:
    shutil.copy(shipped_bundle / "bundle.json", one_copy)
    read_bundle(one_copy)
    record = record_of(one_copy)
    EDITS[name](record)
    (one_copy / "bundle.json").write_text(json.dumps(record, indent=2))
    with pytest.raises(BundleError, match=r"bundle\.json") as caught:
        read_bundle(one_copy)
    assert caught.value.exit_code == 4
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "words", [("selftest",), ("parity",), ("classify", "cell.png", "--bundle")], ids=lambda w: w[0]
)
def test_an_edited_bundle_is_exit_4_for_every_command(copy: Path, words: tuple[str, ...]) -> None:
    record = record_of(copy)
    _threshold(record, 0.0001)
    (copy / "bundle.json").write_text(json.dumps(record, indent=2))
    ran = run_cli(*words, copy)
    assert ran.code == 4
    assert "was edited" in ran.error


@pytest.mark.parametrize("name", ["default", "micro"])
def test_another_layout_of_the_same_content_is_the_same_bundle(name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(SHIPPED_MODELS / name, tmp_path / name))
    record = record_of(copy)
    (copy / "bundle.json").write_text(json.dumps(record, sort_keys=True))
    (copy / ".DS_Store").write_bytes(b"left by a Mac")
    (copy / "._bundle.json").write_bytes(b"left by a Mac")
    assert read_bundle(copy).record == record


WRONG: dict[str, tuple[Callable[[Record], object], str]] = {
    "threshold 0": (lambda r: _threshold(r, 0), "screening.threshold"),
    "threshold 1": (lambda r: _threshold(r, 1), "screening.threshold"),
    "threshold true": (lambda r: _threshold(r, True), "screening.threshold"),
    "temperature 0": (lambda r: _classifier(r)["decision"].update(temperature=0), "temperature"),
    "temperature 1e308": (
        lambda r: _classifier(r)["decision"].update(temperature=1e308),
        "ordinary size",
    ),
    "size 10^9": (lambda r: _classifier(r)["preprocessing"].update(size_px=10**9), "size_px"),
    "size 0": (lambda r: _classifier(r)["preprocessing"].update(size_px=0), "size_px"),
    "size -48": (lambda r: _classifier(r)["preprocessing"].update(size_px=-48), "size_px"),
    "size 48.5": (lambda r: _classifier(r)["preprocessing"].update(size_px=48.5), "size_px"),
    "size of hundreds of digits": (
        lambda r: _classifier(r)["preprocessing"].update(size_px=10**400),
        "ordinary size",
    ),
    "labels a number": (lambda r: _classifier(r).update(labels=3), "labels"),
    "one label twice": (lambda r: _classifier(r).update(labels=["a", "a"]), "different names"),
    "variants a list": (lambda r: _classifier(r).update(variants=[]), "variants"),
    "no variant": (lambda r: _classifier(r).update(variants={}), "at least one variant"),
    "task": (lambda r: _classifier(r).update(task="find-cells"), "task"),
    "models a word": (lambda r: r.update(models="x"), "models"),
    "no classifier": (lambda r: r["models"].pop("classifier"), "no classifier"),
    "limits upside down": (
        lambda r: _classifier(r)["decision"]["abstention"]["not_a_red_cell"]["limits"].update(
            detail=[2, 1]
        ),
        "limits.detail",
    ),
    "alpha 0": (
        lambda r: _classifier(r)["decision"]["false_positives"].update(alpha=0),
        "false_positives.alpha",
    ),
    "more positives than cells": (
        lambda r: _classifier(r)["decision"]["false_positives"].update(counts=[[5, 3]]),
        "counts",
    ),
    "schema 0": (lambda r: r.update(schema_version=0), "schema 0"),
    "schema true": (lambda r: r.update(schema_version=True), "schema True"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_cannot_be_are_named_even_under_a_right_hash(copy: Path, name: str) -> None:
    edit, words = WRONG[name]
    record = record_of(copy)
    edit(record)
    version = record["schema_version"]
    write_index(copy, record)
    if version != 1 or isinstance(version, bool):
        (copy / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(BundleError) as caught:
        read_bundle(copy)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": NaN}', "finite"),
        (b'{"a": -Infinity}', "finite"),
        (b'{"a": 1e999}', "ordinary size"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b"[" * 100_000 + b"]" * 100_000, "nesting"),
        (b"[" * 40 + b"]" * 40, "nesting"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b"\xff\xfe\x00", "codec"),
        (b'"' + b"x" * MAX_INDEX_BYTES + b'"', "at most"),
    ],
)
def test_an_index_that_no_export_writes_is_damaged(copy: Path, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_index(data)
    (copy / "bundle.json").write_bytes(data)
    with pytest.raises(BundleIntegrityError, match="is damaged"):
        read_bundle(copy)


def test_a_folder_that_is_no_bundle_is_not_read(tmp_path: Path) -> None:
    # Reading it whole would take the memory of its contents: a sparse file larger than any bundle.
    with (tmp_path / "large.bin").open("wb") as handle:
        handle.truncate(1 << 42)
    with pytest.raises(BundleSchemaError, match="is not a bundle"):
        read_bundle(tmp_path)
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(BundleIntegrityError, match="above the limit"):
        read_bundle(tmp_path)


@pytest.mark.slow
def test_a_zip_is_measured_before_it_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", "{}")
        with archive.open("zeros.bin", "w", force_zip64=True) as entry:
            for _ in range(MAX_BUNDLE_BYTES // (8 << 20) + 1):
                entry.write(bytes(8 << 20))
    assert packed.stat().st_size < 2 << 20
    with pytest.raises(BundleIntegrityError, match="above the limit"):
        read_bundle(packed)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A copy of the bundle that the gate is soon done with."""
    return Path(shutil.copytree(SHIPPED_MODELS / "micro", tmp_path / "small"))


def test_a_threshold_that_was_hashed_again_is_told_from_the_exported_one(small: Path) -> None:
    """Each model file carries the decision: parity compares both operating points with it."""
    record, exported = record_of(small), read_bundle(small).classifier.threshold("screening")
    _threshold(record, 0.0001)
    write_index(small, record)
    read_bundle(small)
    report = gate(small, engines=["litert"], finder=False)
    assert not report.passed
    [*_, last] = [m for m in messages(report) if "threshold of screening" in m]
    assert f"got 0.0001, expected {exported}, as litert." in last


@pytest.mark.slow
def test_calls_at_the_screening_point_are_compared(tmp_path: Path) -> None:
    """Calls at that point are held to the limit of agreement too, each file's once."""
    copy = with_second(SHIPPED_MODELS / "micro", tmp_path / "copy")
    from edge_malaria.bundle.golden import read_goldens
    from edge_malaria.bundle.limits import LIMITS, Limits
    from edge_malaria.parity.findings import Settings

    strict = {**LIMITS, "int8": Limits(1.0, 0.0, 0.9999, 0.9)}
    report = gate(
        copy, engines=["litert"], finder=False, settings=Settings(limits=strict, min_golden=512)
    )
    found = [m for m in messages(report) if "same call at screening" in m]
    cells = len(read_goldens(read_bundle(copy).contents).cells.inputs)
    assert not found, "few of 1,024 cells flip at screening, all near a threshold"
    # An agreement that cannot be reached: how many cells flip differs between networks.
    stricter = {**LIMITS, "int8": Limits(1.0, 0.0, 0.5, 1.001)}
    report = gate(copy, engines=["litert"], finder=False, settings=Settings(limits=stricter))
    found = [m for m in messages(report) if "same call at screening" in m]
    assert len(found) == 2, "of each network"
    assert all("litert.int8" in message for message in found)
    assert cells == 1024


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_value_anywhere_is_a_clear_error_or_the_same_bundle(data: st.DataObject) -> None:
    """Puts any JSON value at any place of the shipped index, under a right hash."""
    from edge_malaria.bundle.index import check_gate, check_model

    record = json.loads((SHIPPED_MODELS / "default" / "bundle.json").read_text())
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    value = data.draw(scalars | st.lists(scalars, max_size=3) | st.dictionaries(
        st.text(max_size=4), scalars, max_size=3))  # fmt: skip
    place: Any = record["models"]
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 5)) == 0:
            place[key] = value
            break
        place = inner
    try:
        for name, model in record["models"].items():
            check_model(name, model)
            check_gate(name, model)
    except ValueError as error:
        message = str(error)
    else:
        message = "expected"
    assert "expected" in message
