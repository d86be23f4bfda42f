"""Drawn cells resemble real ones: a model trained on real cells alone tells them apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_malaria.metrics import auc


@pytest.fixture(scope="module")
def classifier(shipped_bundle: Path):  # type: ignore[no-untyped-def]
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.runtime.classify.classifier import Classifier
    from edge_malaria.runtime.engines.opening import installed_engines

    if not installed_engines():
        pytest.skip("no engine is installed")
    return Classifier(read_bundle(shipped_bundle))


@pytest.mark.slow
def test_the_shipped_model_tells_drawn_cells_apart(classifier) -> None:  # type: ignore[no-untyped-def]
    from edge_malaria.synthetic.write import drawn_cells

    rows = list(drawn_cells(500, seed=7, patients=50, size_px=130))
    said = classifier.classify([image for _, image, _ in rows])
    truth = [row.label for row, _, _ in rows]
    assert auc(truth, [p.logit for p in said]) >= 0.95


def test_it_does_so_for_cells_cut_from_drawn_fields(classifier) -> None:  # type: ignore[no-untyped-def]
    from edge_malaria.prepare.preprocess import cut
    from edge_malaria.synthetic import draw_field

    crops, masks, truth = [], [], []
    for seed in range(6):
        image, smear = draw_field(seed, parasitemia=0.3, overlap=0.0, platelets=0.0)
        for cell in smear.red_cells:
            if cell.whole:
                crops.append(cut(image, cell.box))
                masks.append(cell.mask)
                truth.append(cell.parasitized)
    said = classifier.classify(crops, masks)
    assert np.sum(truth) > 100
    assert auc(truth, [p.logit for p in said]) >= 0.95
