"""What an export writes beside the model files: bundle.json, evaluation.json and the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_malaria import __version__, parity
from edge_malaria.bundle.format import write_index
from edge_malaria.export.card import bundle_readme
from edge_malaria.export.convert import Work
from edge_malaria.files import write_json, write_text


def write_record(
    work: Work,
    evaluation: Mapping[str, Any] | None,
    report: parity.ParityReport | None = None,
) -> None:
    """Writes them over the model files of ``work``.

    Args:
        work: the export, its model files written.
        evaluation: measures on the val split, where data was given.
        report: the gate's; None while the gate has not run.
    """
    source = work.source
    sizes = {f"{v}/{s.engine}": s.bytes for v, specs in work.files.items() for s in specs}
    classifier = {
        "task": "classify-cell",
        "labels": ["uninfected", "parasitized"],
        "preprocessing": source.preprocessing,
        "gate": None if report is None else _gate_record(report, work.options.delta),
        "variants": {v: [spec.as_json() for spec in specs] for v, specs in work.files.items()},
        "decision": dict(source.decision),
        "int8": {
            "ranges": work.recipe,
            "calibration_cells": [] if work.calibration is None else list(work.calibration.files),
        },
    }
    models: dict[str, Any] = {"classifier": classifier}
    if work.finder is not None:
        gate = None if report is None else _finder_gate_record(report)
        models["finder"] = {**work.finder, "gate": gate}
    record = {
        "name": source.name,
        "version": str(source.provenance.get("version", __version__)),
        "models": models,
        "provenance": _provenance(work),
        "evidence": "drawn" if report is None else report.evidence,
        "exported_with": {"edge_malaria": __version__, **_versions()},
    }
    write_json(
        work.directory / "evaluation.json",
        {"bundle": source.name, "val": evaluation, "shipped": source.measured, "bytes": sizes},
    )
    write_text(work.directory / "README.md", bundle_readme(record, sizes, evaluation))
    write_index(work.directory, record)


def _provenance(work: Work) -> dict[str, Any]:
    unknown = {"patients": "unknown"} if work.patients_unknown else {}
    return {**work.source.provenance, **unknown}


def _gate_record(report: parity.ParityReport, asked: float) -> dict[str, Any]:
    """What the gate said; ``delta_asked`` where few labelled cells made the margin wider.

    ``temperature``: at which probabilities of labelled cells were compared, where that is not 1.
    """
    wider = {"delta_asked": asked} if report.settings.delta != asked else {}
    return {
        "worst_layers": [dict(layer) for layer in report.worst_layers],
        "passed": report.passed,
        "evidence": report.evidence,
        "cells": dict(report.cells),
        "delta": report.settings.delta,
        **wider,
        **({} if report.drawn_decide else {"drawn_decide": False}),
        **({"temperature": report.temperature} if report.temperature > 1.0 else {}),
        "not_run": list(report.not_run),
    }


def _finder_gate_record(report: parity.ParityReport) -> dict[str, Any]:
    pairs = report.finder_against_keras()
    return {
        "passed": bool(pairs) and report.passed,
        "evidence": "drawn",
        "cells": min((pair.cells for pair in pairs), default=0),
        "agreement": {pair.candidate: pair.agreement for pair in pairs},
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    names: Sequence[str] = (
        *("numpy", "tensorflow-cpu", "tensorflow", "keras", "tf2onnx", "onnx"),
        *("onnxruntime", "ai-edge-litert"),
    )
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
