"""A model's own file as a classifier, before anything is exported: what ``evaluate`` runs."""

from __future__ import annotations

from pathlib import Path

from converters.keras_engine import KerasEngine
from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.spec import Bundle, ModelSpec
from edge_malaria.export.importers import Declared, Loading
from edge_malaria.export.load import load_source
from edge_malaria.export.source import Source
from edge_malaria.runtime.classify.classifier import Classifier


def keras_classifier(
    path: Path,
    operating_point: str,
    declared: Declared | None = None,
    loading: Loading | None = None,
) -> Classifier:
    """A classifier that runs a model's file itself: ``evaluate model.keras DATASET``."""
    source = load_source(str(path), declared, loading)
    return source_classifier(source, path, operating_point)


def source_classifier(source: Source, path: Path, operating_point: str) -> Classifier:
    """The same of a model that is loaded already; ``path`` is what messages name."""
    spec = ModelSpec(
        "classify-cell",
        ("uninfected", "parasitized"),
        source.size_px,
        {},
        DecisionRecord.from_json(source.decision),
        {},
        source.target,
    )
    record = {"provenance": source.provenance}
    bundle = Bundle(path, source.name, "", {"classifier": spec}, record, {})
    engine = KerasEngine(source.plain)
    second = None if source.second is None else source.second_logits
    return Classifier(bundle, "float32", None, operating_point, with_engine=engine, second=second)
