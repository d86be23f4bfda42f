"""Sets without malaria, whole path: a figure is right within its interval, or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.screen.config import load_config
from edge_malaria.runtime.screen.screening import ScreenCall, screen
from edge_malaria.runtime.screen.slide_pipeline import ScreenOptions
from edge_malaria.runtime.sources.opening import open_source

PICTURES = 6
SETS = (
    "bccd", "chula", "chula_more", "chula_disease", "cheap_rig", "draaslan256", "pbc", "raabin",
    "phone_eyepiece",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_blood_without_malaria_shows_no_parasitemia(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    files = sorted((data_dir / "fields" / name / "images").iterdir(), key=lambda path: path.name)
    chosen = [str(file) for file in files[2::3][:PICTURES]]
    bundle = read_bundle(shipped_bundle())
    classifier = Classifier(bundle, operating_point="screening")
    call = ScreenCall(tmp_path / "report", tuple(chosen), 5e6)
    options = ScreenOptions(quality_gate=False)
    report = screen(open_source(chosen), bundle, classifier, call, load_config(), options).report
    assert report.cells_counted > 0
    assert report.verdict != "parasites-detected"
    if report.parasitemia is None:
        assert (report.ci95, report.parasites_per_ul) == (None, None)
    else:
        assert report.ci95 is not None
        assert report.ci95[0] == 0.0 <= report.parasitemia <= report.ci95[1]
