"""The FHIR document, checked against the standard's own model, for every kind of slide."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_malaria.records import SlideReport
from edge_malaria.runtime.report.fhir import Sample, fhir_bundle
from tests.cli import run_cli, run_process, validate

SAMPLE = Sample("A-17", "2026-01-05T08:00:00+00:00", "2026-01-05T09:30:00+00:00")
REPORT = SlideReport(
    verdict="parasites-detected",
    basis="reader",
    fields_seen=20,
    fields_rejected={"blurred": 2},
    cells_counted=2000,
    cells_positive=24,
    cells_flagged=30,
    review={"flagged": 30, "reviewed": 30, "confirmed": 22, "overturned": 8, "readers": ["ann"]},
    parasitemia=0.0115,
    ci95=(0.0071, 0.0178),
    parasites_per_ul=57_500.0,
    rbc_per_ul=5e6,
    limit_of_detection_per_ul=None,
    limit_of_detection_reviewed_per_ul=12_000.0,
    site=None,
    model="default 0.1.0",
    variant="int8",
    engine="litert",
    warnings=(),
    elapsed_s=12.0,
    details={"model_sha256": "ab" * 32},
)
UNKNOWN = dataclasses.replace(
    REPORT, verdict="indeterminate", basis="algorithm", parasitemia=None, ci95=None,
    parasites_per_ul=None, review={"flagged": 30, "reviewed": 0, "readers": []},
)  # fmt: skip


def resources(document: dict[str, Any]) -> dict[str, list[Any]]:
    """By type, after the standard's model has read the whole document."""
    from fhir.resources.R4B.bundle import Bundle

    checked = Bundle.model_validate(document)
    found: dict[str, list[Any]] = {}
    for entry in checked.entry:
        kind = entry.resource.get_resource_type()
        found.setdefault(kind, []).append(entry.resource)
    return found


@pytest.mark.parametrize("report", [REPORT, UNKNOWN], ids=["number", "no number"])
@pytest.mark.parametrize("signed_by", ["", "B. Supervisor"])
def test_it_holds_against_the_standard(report: SlideReport, signed_by: str) -> None:
    document = fhir_bundle(report, dataclasses.replace(SAMPLE, signed_by=signed_by))
    found = resources(json.loads(json.dumps(document, allow_nan=False)))
    assert {kind: len(some) for kind, some in found.items()} == {
        "Specimen": 1,
        "Device": 1,
        "Observation": 3,
        "DiagnosticReport": 1,
        "Provenance": 1,
    }
    status = "final" if signed_by else "preliminary"
    assert found["DiagnosticReport"][0].status == status
    assert {one.status for one in found["Observation"]} == {status}
    # Every reference leads to a resource of the same document.
    urls = {entry["fullUrl"] for entry in document["entry"]}
    named = set(re.findall(r'"reference": "([^"]+)"', json.dumps(document)))
    assert named <= urls and named


def test_numbers_and_their_intervals_are_those_of_the_report() -> None:
    presence, share, density = resources(fhir_bundle(REPORT, SAMPLE))["Observation"]
    assert float(share.valueQuantity.value) == pytest.approx(1.15)
    assert [float(part.valueQuantity.value) for part in share.component] == [0.71, 1.78]
    assert share.valueQuantity.code == "%" and share.code.coding[0].code == "101343-2"
    assert float(density.valueQuantity.value) == 57_500
    assert density.valueQuantity.code == "{parasites}/uL"
    assert [part.valueQuantity.value for part in density.component][-1] == 5e6
    assert presence.valueCodeableConcept.coding[0].code == "260373001"
    assert share.referenceRange is None


def test_where_no_number_is_known_none_is_sent() -> None:
    document = fhir_bundle(UNKNOWN, SAMPLE)
    presence, share, density = resources(document)["Observation"]
    assert share.valueQuantity is None and density.valueQuantity is None
    assert share.dataAbsentReason.coding[0].code == "unknown"
    assert presence.valueCodeableConcept.coding[0].code == "82334004"


def test_the_same_report_has_the_same_identity_and_another_another() -> None:
    again = dataclasses.replace(SAMPLE, issued="2026-01-06T00:00:00+00:00")
    slower = dataclasses.replace(REPORT, elapsed_s=99.0)
    first = fhir_bundle(REPORT, SAMPLE)["id"]
    assert fhir_bundle(slower, again)["id"] == first
    assert fhir_bundle(UNKNOWN, SAMPLE)["id"] != first
    assert fhir_bundle(REPORT, dataclasses.replace(SAMPLE, signed_by="x"))["id"] != first
    with pytest.raises(ValueError, match="a sample code"):
        Sample("  ", "", "")


@pytest.mark.slow
def test_the_command_writes_it_from_the_journal(tmp_path: Path) -> None:
    slide, target = tmp_path / "slide", tmp_path / "slide.fhir.json"
    source = "sim:fields=1,width=640,height=480,cell_diameter_px=50"
    assert run_cli("screen", source, "-o", slide).code == 0
    assert run_cli("report", slide, "--fhir", target).code == 2, "no sample code"
    ran = run_process("report", slide, "--fhir", target, "--sample", "A-17", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "screen")
    found = resources(json.loads(target.read_text()))
    assert found["Specimen"][0].identifier[0].value == "A-17"
    assert found["DiagnosticReport"][0].status == "preliminary"
    assert run_cli("report", slide, "--fhir", target, "--sample", "A-17").code == 2, "it exists"
    assert run_cli("report", tmp_path / "none").code == 2
