"""Names: of tensors, labels and operating points, in the files and in bundle.json.

Every file carries what its decision rests on, under its own hash. A bundle.json whose thresholds,
labels, colour or size were changed afterwards, and hashed again, is told apart by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_malaria.bundle.spec import ModelSpec
from edge_malaria.parity.findings import Failure, signature_failure
from edge_malaria.parity.opened import OpenedFile, Subject, against_record

LABELS = ("uninfected", "parasitized")


def check_names(subject: Subject) -> list[Failure]:
    """The classifier's tensor names, its labels, and what each file says of its decision."""
    found = []
    for file in subject.files.values():
        found += check_file_names(file)
        found += metadata_failures(file.name, file.variant, file.metadata, subject.spec)
    labels = tuple(subject.spec.labels)
    if labels != LABELS:
        found.append(signature_failure("bundle.json", "labels", labels, LABELS, "labels swapped"))
    return found


def check_file_names(file: OpenedFile) -> list[Failure]:
    """The names of a file's input and output, of a classifier or a finder."""
    return against_record(file, "name")


def decides(value: Mapping[str, Any]) -> dict[str, Any]:
    """What decides, of a file's metadata or of a model in bundle.json: path -> value."""
    decision = value.get("decision") or {}
    points = decision.get("operating_points") or {}
    return {
        "labels": value.get("labels"),
        **{f"preprocessing.{key}": got for key, got in (value.get("preprocessing") or {}).items()},
        "decision.temperature": decision.get("temperature"),
        "decision.bias": decision.get("bias"),
        "decision.flagged_views": decision.get("flagged_views", 1),
        "decision.second": decision.get("second"),
        **{f"threshold of {name}": point.get("threshold") for name, point in points.items()},
    }


def metadata_failures(
    name: str, variant: str, found: Mapping[str, Any] | None, spec: ModelSpec
) -> list[Failure]:
    """Where a file and bundle.json do not say the same.

    Args:
        name: ``engine.variant``.
        variant: the precision that the file is recorded as.
        found: what ``read_metadata`` gave.
        spec: of bundle.json.
    """
    if found is None:
        cause = "the file does not say how it decides; export it again"
        return [signature_failure(name, "metadata", "none", "the decision", cause)]
    mine, theirs = decides(spec.record), decides(found)
    failures = [
        signature_failure(
            "bundle.json",
            what,
            mine.get(what),
            f"{theirs.get(what)}, as {name} carries it",
            "bundle.json was changed after the export, or the file is another bundle's",
        )
        for what in sorted({*mine, *theirs})
        if mine.get(what) != theirs.get(what)
    ]
    got = found.get("variant")
    if got != variant:
        failures.append(signature_failure(name, "variant in its metadata", got, variant))
    return failures
