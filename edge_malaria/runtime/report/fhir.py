"""A slide's report as a FHIR R4 Bundle: what a laboratory system or a national server can take.

DiagnosticReport, Observations, Device, Specimen and Provenance, as plain JSON. The report is
``preliminary`` until a person signs it, then ``final``. Intervals are components of their
Observation: a reference range would say something else. Codes: LOINC 51587-4 (Plasmodium presence
by light microscopy), LOINC 101343-2 (infected red cells among the red cells), SNOMED CT for
detected, not detected and indeterminate. Parasites per microlitre have no LOINC code for this
method, so the code is this project's own, with the UCUM unit.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from edge_malaria import __version__
from edge_malaria.records import RESEARCH_USE, Interval, SlideReport, expect

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
OWN = "urn:edge-malaria:codes"
PRESENCE = ("51587-4", "Plasmodium presence in blood by light microscopy")
SHARE = ("101343-2", "Red cells infected with Plasmodium among the red cells of blood")
VERDICTS = {
    "parasites-detected": ("260373001", "Detected"),
    "not-detected": ("260415000", "Not detected"),
    "indeterminate": ("82334004", "Indeterminate"),
}
_NAMESPACE = uuid.UUID("6f9a3c52-9c0e-5d0e-8d0b-7f1f6f7c2a11")


@dataclass(frozen=True)
class Sample:
    """Whose slide it is, as far as the device may know.

    Attributes:
        code: the laboratory's own code of the sample; nothing more personal is asked.
        collected: ISO date and time of the first field, with its offset from UTC.
        issued: ISO date and time of this document, with its offset from UTC.
        signed_by: who signs for it; "" leaves it preliminary.
    """

    code: str
    collected: str
    issued: str
    signed_by: str = ""

    def __post_init__(self) -> None:
        expect(bool(self.code.strip()), "a sample code", self.code)


def fhir_bundle(report: SlideReport, sample: Sample) -> dict[str, Any]:
    """The report as a FHIR R4 Bundle of type ``collection``, JSON-ready.

    The identifiers follow from the sample and what is told of it: the same document sent twice is
    recognised, another one has another identity.
    """
    made = _Maker(report, sample)
    entries = [
        made.specimen(),
        made.device(),
        *made.observations(),
        made.report(),
        made.provenance(),
    ]
    return {
        "resourceType": "Bundle",
        "id": made.ident("Bundle"),
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{made.ident('Bundle')}"},
        "type": "collection",
        "timestamp": sample.issued,
        "entry": [{"fullUrl": f"urn:uuid:{entry['id']}", "resource": entry} for entry in entries],
    }


class _Maker:
    def __init__(self, report: SlideReport, sample: Sample) -> None:
        self._report, self._sample = report, sample
        self._status = "final" if sample.signed_by else "preliminary"
        told = {"report": report.as_json(), "code": sample.code, "by": sample.signed_by}
        del told["report"]["elapsed_s"]  # type: ignore[attr-defined]
        self._told = json.dumps(told, sort_keys=True)

    def ident(self, role: str) -> str:
        """The resource's identity."""
        return str(uuid.uuid5(_NAMESPACE, f"{role}\n{self._sample.collected}\n{self._told}"))

    def _to(self, role: str) -> dict[str, str]:
        return {"reference": f"urn:uuid:{self.ident(role)}"}

    def specimen(self) -> dict[str, Any]:
        return {
            "resourceType": "Specimen",
            "id": self.ident("Specimen"),
            "identifier": [{"system": "urn:edge-malaria:sample", "value": self._sample.code}],
            "type": {
                "coding": [{"system": SNOMED, "code": "119297000"}],
                "text": "Blood, thin smear on a slide, Giemsa",
            },
            "collection": {"collectedDateTime": self._sample.collected},
        }

    def device(self) -> dict[str, Any]:
        report = self._report
        return {
            "resourceType": "Device",
            "id": self.ident("Device"),
            "identifier": [
                {
                    "system": "urn:edge-malaria:model-sha256",
                    "value": str(report.details.get("model_sha256", "unknown")),
                }
            ],
            "deviceName": [{"name": "edge-malaria", "type": "manufacturer-name"}],
            "version": [
                {"type": {"text": "software"}, "value": __version__},
                {"type": {"text": "model"}, "value": report.model},
                {
                    "type": {"text": "variant and engine"},
                    "value": f"{report.variant} {report.engine}",
                },
            ],
            "note": [{"text": RESEARCH_USE}],
        }

    def observations(self) -> list[dict[str, Any]]:
        report = self._report
        code, words = VERDICTS[report.verdict]
        presence = self._observation("presence", LOINC, *PRESENCE)
        presence["valueCodeableConcept"] = {
            "coding": [{"system": SNOMED, "code": code}],
            "text": f"{words} in {report.cells_counted:,} red cells",
        }
        presence["component"] = [
            _component("cells-counted", "Red cells counted", report.cells_counted, "{cells}"),
            _component("cells-flagged", "Red cells flagged", report.cells_flagged, "{cells}"),
            *self._limits(),
        ]
        share = self._observation("share", LOINC, *SHARE)
        ci95 = report.ci95
        percent = None if ci95 is None else (100 * ci95[0], 100 * ci95[1])
        value = None if report.parasitemia is None else 100 * report.parasitemia
        _set_value(share, value, "%", percent)
        density = self._observation("density", OWN, "parasites-per-ul", "Parasites per microlitre")
        scaled = None
        if ci95 is not None and report.parasites_per_ul is not None:
            scaled = (ci95[0] * report.rbc_per_ul, ci95[1] * report.rbc_per_ul)
        _set_value(density, report.parasites_per_ul, "{parasites}/uL", scaled)
        density.setdefault("component", []).append(
            _component(
                "rbc-per-ul", "Red cells per microlitre used", report.rbc_per_ul, "{cells}/uL"
            )
        )
        return [presence, share, density]

    def _limits(self) -> list[dict[str, Any]]:
        found = (
            ("limit-of-detection", "Limit of detection", self._report.limit_of_detection_per_ul),
            (
                "limit-of-detection-reviewed",
                "Limit of detection with a reader",
                self._report.limit_of_detection_reviewed_per_ul,
            ),
        )
        return [
            _component(code, text, value, "{parasites}/uL")
            for code, text, value in found
            if value is not None
        ]

    def _observation(self, role: str, system: str, code: str, text: str) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "id": self.ident(f"Observation/{role}"),
            "status": self._status,
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                            "code": "laboratory",
                        }
                    ]
                }
            ],
            "code": {"coding": [{"system": system, "code": code}], "text": text},
            "specimen": self._to("Specimen"),
            "device": self._to("Device"),
            "effectiveDateTime": self._sample.collected,
            "issued": self._sample.issued,
            "method": {"text": f"thin blood smear, decided by: {self._report.basis}"},
        }

    def report(self) -> dict[str, Any]:
        code, words = VERDICTS[self._report.verdict]
        roles = ("presence", "share", "density")
        return {
            "resourceType": "DiagnosticReport",
            "id": self.ident("DiagnosticReport"),
            "status": self._status,
            "category": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                            "code": "HM",
                        }
                    ]
                }
            ],
            "code": {"coding": [{"system": LOINC, "code": PRESENCE[0]}], "text": PRESENCE[1]},
            "effectiveDateTime": self._sample.collected,
            "issued": self._sample.issued,
            "specimen": [self._to("Specimen")],
            "result": [self._to(f"Observation/{role}") for role in roles],
            "conclusion": (
                f"{words} in {self._report.cells_counted:,} red cells. Decided by: "
                f"{self._report.basis}. {RESEARCH_USE}"
            ),
            "conclusionCode": [{"coding": [{"system": SNOMED, "code": code}], "text": words}],
        }

    def provenance(self) -> dict[str, Any]:
        agents = [
            {
                "type": {"text": "read the flagged cells"},
                "who": {"display": str(reader)},
            }
            for reader in self._report.review.get("readers", ())
        ]
        agents.append({"type": {"text": "screened the slide"}, "who": self._to("Device")})
        if self._sample.signed_by:
            agents.insert(
                0, {"type": {"text": "signed"}, "who": {"display": self._sample.signed_by}}
            )
        return {
            "resourceType": "Provenance",
            "id": self.ident("Provenance"),
            "target": [self._to("DiagnosticReport")],
            "recorded": self._sample.issued,
            "agent": agents,
        }


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {"value": float(f"{value:.6g}"), "unit": unit, "system": UCUM, "code": unit}


def _component(code: str, text: str, value: float, unit: str) -> dict[str, Any]:
    return {
        "code": {"coding": [{"system": OWN, "code": code}], "text": text},
        "valueQuantity": _quantity(value, unit),
    }


def _set_value(
    observation: dict[str, Any], value: float | None, unit: str, interval: Interval | None
) -> None:
    """A value with its 95 % interval, or the statement that none is known."""
    if value is None:
        observation["dataAbsentReason"] = {
            "coding": [{"system": ABSENT, "code": "unknown"}],
            "text": "no number is known for this slide",
        }
        return
    observation["valueQuantity"] = _quantity(value, unit)
    if interval is not None:
        observation["component"] = [
            _component("ci95-low", "95 % interval, lower end", interval[0], unit),
            _component("ci95-high", "95 % interval, upper end", interval[1], unit),
        ]
