"""What enters a shipped classifier's error model: whose cells, and which labels."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.slides.laboratory_scores import SourceScores
from benchmarks.slides.patient_scores import crossval_scores
from edge_malaria.crossval.results import FoldResult, write_result
from edge_malaria.data.dataset import open_dataset
from edge_malaria.errors import DataError
from edge_malaria.files import encode_image
from tools.fit_error_model import part_of, patients_of, slides_of

# (patient, class, split, doubtful label), a cell each.
CELLS = (
    ("H1", "Uninfected", "train", 0),
    ("H1", "Uninfected", "train", 0),
    ("P1", "Parasitized", "train", 0),
    ("P1", "Uninfected", "train", 0),
    ("P1", "Uninfected", "train", 1),
    ("P2", "Parasitized", "val", 1),
    ("P3", "Parasitized", "test", 0),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """nih/cell_images.zip and patients.csv with the cells above."""
    folder = tmp_path / "nih"
    folder.mkdir()
    lines = ["file,class,patient_id,slide_key,field_id,split,fold,suspect_label"]
    with zipfile.ZipFile(folder / "cell_images.zip", "w") as archive:
        for number, (patient, kind, split, doubtful) in enumerate(CELLS):
            name = f"c{number}.png"
            image = np.full((20, 20, 3), 40 + number, np.uint8)
            archive.writestr(f"cell_images/{kind}/{name}", encode_image(image, ".png"))
            lines.append(f"{name},{kind},{patient},{patient},f,{split},0,{doubtful}")
    (folder / "patients.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_cross_fitted_scores_keep_plain_cells_but_doubtful_ones(data: Path) -> None:
    rows = open_dataset(data / "nih" / "cell_images.zip").rows
    fitted = [row for row in rows if row.split in ("train", "val")]
    known = {Path(row.file).stem: number for number, row in enumerate(fitted)}
    logits = np.zeros(len(fitted))
    for number in range(6):
        logits[known[f"c{number}"]] = number
    none = np.zeros(0)
    result = FoldResult(
        0, np.arange(len(fitted)), logits, logits, 1.0, 0.0, none, none.astype(np.int64)
    )
    write_result(data / "run" / "fold0" / "predictions.npz", result)

    def logit(p: np.ndarray) -> list[int]:
        return sorted(np.log(p / (1 - p)).round().astype(int).tolist())

    healthy, infected = crossval_scores(data / "run", data, {"train", "val"})
    assert {k: logit(v) for k, v in healthy.items()} == {"H1": [0, 1]}
    assert {k: logit(v) for k, v in infected.items()} == {"P1": [2], "P2": [5]}
    plain, same = crossval_scores(data / "run", data, {"train", "val"}, plain=True)
    assert {k: logit(v) for k, v in plain.items()} == {"H1": [0, 1], "P1": [3]}
    assert same.keys() == infected.keys()


def test_report_thirds_and_doubtful_labels_are_left_out() -> None:
    names = np.array(["H1", "P1", "P2"])
    labels = np.array(["plain", "plain-doubtful", "plain", "parasitized", "parasitized-doubtful"])
    picture = np.array([0, 1, 1, 1, 2])
    chances = np.array([0.1, 0.9, 0.2, 0.8, 0.3])
    scores = SourceScores(chances, picture, labels, names, np.array([""] * 3), "0" * 64)
    plain, sick = patients_of(scores)
    assert {k: v.tolist() for k, v in plain.items()} == {"H1": [0.1], "P1": [0.2]}
    assert {k: v.tolist() for k, v in sick.items()} == {"P1": [0.8], "P2": [0.3]}
    assert set(patients_of(scores, doubtful=False)[1]) == {"P1"}
    fit, report = (part_of("bccd", scores, part) for part in ("fit", "report"))
    assert fit.chances.tolist() == [0.1, 0.9, 0.2, 0.8] and report.chances.tolist() == [0.3]
    # Successive pictures stand for a slide; a rest that is too small joins the last.
    assert {k: len(v) for k, v in slides_of("bccd", scores, least=3).items()} == {"H1": 5}


@pytest.mark.usefixtures("tensorflow")
def test_a_left_out_laboratory_is_scored_by_its_own_network(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    from benchmarks.slides.laboratory_scores import left_out_scorer
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.prepare.preprocess import network_input
    from edge_malaria.synthetic import draw_cell
    from edge_malaria.training.classifier.run_files import save_model
    from tests.networks import spot_network

    save_model(spot_network(), tmp_path / "left-out.keras")
    folder, rng = tmp_path / "nih", np.random.default_rng(4)
    folder.mkdir()
    lines = ["file,class,patient_id,slide_key,field_id,split,fold,suspect_label"]
    with zipfile.ZipFile(folder / "cell_images.zip", "w") as archive:
        for number in range(40):
            kind, label = (("healthy", "Uninfected"), ("schizont", "Parasitized"))[number % 2]
            cell = draw_cell(rng, kind)  # type: ignore[arg-type]
            pixels = cell.image * cell.mask[:, :, None].astype(np.uint8)
            name = f"c{number}.png"
            archive.writestr(f"cell_images/{label}/{name}", encode_image(pixels, ".png"))
            lines.append(f"{name},{label},P{number % 5},S,f,val,0,0")
    (folder / "patients.csv").write_text("\n".join(lines) + "\n")
    bundle = read_bundle(shipped_bundle)
    file = str(tmp_path / "left-out.keras")
    if bundle.second is not None:
        with pytest.raises(DataError, match="second network"):
            left_out_scorer(bundle, file, tmp_path)
        file = f"{file},{file}"
    scorer = left_out_scorer(bundle, file, tmp_path)
    assert len(scorer.sha256) == 64
    assert scorer.sha256 != bundle.deciding_sha256("int8", "litert")
    cells = [draw_cell(rng, kind) for kind in ("healthy", "schizont") for _ in range(10)]
    batch = np.stack([network_input(c.image, 48, c.mask) for c in cells])
    chances = np.array([p.p_parasitized for p in scorer.classifier.predict_inputs(batch)])
    assert np.median(chances[10:]) > np.median(chances[:10])
