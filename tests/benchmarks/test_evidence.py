"""What ``make evidence`` runs, and which evidence belongs to the classifiers that ship."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import evidence
from benchmarks.documents import markdown
from benchmarks.evidence_file import ROOT, shipped_sha256
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.files import sha256_of

FIRST = sha256_of(shipped_bundle("default") / "model.int8.tflite")
MICRO = sha256_of(shipped_bundle("micro") / "model.int8.tflite")


def test_laboratories_are_scored_by_the_networks_of_make_model() -> None:
    words = ["make", "-n", "model", "EDGE_MALARIA_DATA=data"]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = re.findall(r"--left-out (\S+)", shown)
    made, of_micro = names[:6], names[6:]
    assert all(re.fullmatch(r"\w+=\S+\.keras,\S+\.keras", one) for one in made)
    assert len(of_micro) == 6
    assert all(re.fullmatch(r"\w+=\S+/micro-without-\S+\.keras", one) for one in of_micro)
    run = evidence.commands(Path("data"), Path("runs/evidence"))["laboratory_scores"]
    assert [run[i + 1] for i, word in enumerate(run) if word == "--left-out"] == made
    elsewhere = evidence.commands(Path("data"), Path("big/evidence"))["laboratory_scores"]
    assert sum("=big/laboratories/" in word for word in elsewhere) == 6


@pytest.mark.parametrize(
    ("document", "earlier"),
    [
        ({}, False),
        ({"classifier_sha256": shipped_sha256()}, False),
        ({"int8_sha256": MICRO}, False),
        ({"classifier_sha256": "0" * 64}, True),
        # The first network of today, before a second one was beside it.
        ({"classifier_sha256": FIRST}, True),
        # What runs one file of the bundle names that file.
        ({"model_sha256": FIRST}, False),
        ({"cells": {"model_sha256": "0" * 64}}, True),
        ({"int8_sha256": shipped_sha256(), "before_int8_sha256": "0" * 64}, False),
        ({"int8_sha256": shipped_sha256(), "cells": {"model_sha256": "0" * 64}}, True),
    ],
)
def test_whatever_is_not_of_the_shipped_classifiers_is_marked(
    document: dict[str, Any], earlier: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markdown, "EVIDENCE", tmp_path)
    (tmp_path / f"{tmp_path.name}.json").write_text(json.dumps(document))
    assert markdown.of_earlier_weights(tmp_path.name) is earlier
    mark = " (earlier weights)" if earlier else ""
    assert markdown.evidence_words(tmp_path.name) == tmp_path.name + mark


def test_the_model_card_lists_what_is_of_earlier_weights() -> None:
    card = (ROOT / "docs" / "MODEL_CARD.md").read_text(encoding="utf-8")
    listed = card.partition("table: model-earlier")[2].partition("/table")[0]
    names = [path.stem for path in markdown.EVIDENCE.glob("*.json")]
    earlier = sorted(name for name in names if markdown.of_earlier_weights(name))
    assert re.findall(r"^\| \[([\w-]+)\]", listed, re.MULTILINE) == earlier
