"""The slide's colour scaling through the commands: named by the contract, recorded, repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.data.dataset import Dataset, Row, open_dataset
from edge_malaria.data.stains import ONE_SLIDE, SlideTables
from edge_malaria.errors import BundleSchemaError
from edge_malaria.files import write_image
from edge_malaria.prepare.contract import Preparation, preparation
from edge_malaria.prepare.preprocess import network_input, network_inputs
from edge_malaria.prepare.stain import StainScaling, crops_colour
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier, crop_classifier
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli
from tests.second import without_second
from tests.stained import with_contract

HOME = StainScaling((170, 120, 150))
# Few cells a field, so that a field's colour rests on those before it too.
SIM = "sim:parasitemia=0.05,fields=4,seed=5,width=420,height=320,cell_diameter_px=60"


@pytest.fixture(scope="module")
def stained(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    alone = without_second(shipped_bundle, tmp_path_factory.mktemp("alone") / "bundle")
    return with_contract(alone, tmp_path_factory.mktemp("stained") / "bundle", HOME)


@pytest.fixture(scope="module")
def plain(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    alone = without_second(shipped_bundle, tmp_path_factory.mktemp("alone") / "bundle")
    return with_contract(alone, tmp_path_factory.mktemp("plain") / "bundle", None)


def purple_crops(count: int = 12) -> list[Image]:
    rng = np.random.default_rng(4)
    cells = [draw_cell(rng, "ring" if i % 3 == 0 else "healthy") for i in range(count)]
    made = [np.where(cell.mask[:, :, None], cell.image, 0).astype(np.uint8) for cell in cells]
    shade = np.array([0.85, 0.45, 0.8])
    return [(crop * shade).astype(np.uint8) for crop in made]


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clock = ("elapsed_s", "started", "crc32")
    return [{k: v for k, v in record.items() if k not in clock} for record in records]


def test_a_bundle_names_the_step_or_runs_as_before(stained: Path, plain: Path) -> None:
    assert preparation(read_bundle(stained).classifier.target).stain == HOME
    assert preparation(read_bundle(plain).classifier.target).stain is None


def test_an_unknown_step_is_refused(plain: Path, tmp_path: Path) -> None:
    copy = with_contract(plain, tmp_path / "copy", None)
    index = copy / "bundle.json"
    index.write_text(index.read_text().replace("resize-inter-area", "resize-by-magic"))
    with pytest.raises(BundleSchemaError, match="steps"):
        read_bundle(copy)


def test_the_crops_of_one_call_are_one_slide(stained: Path, plain: Path) -> None:
    crops = purple_crops()
    scaling, without = Classifier(read_bundle(stained)), Classifier(read_bundle(plain))
    colour = crops_colour(crops)
    assert colour is not None
    table = HOME.table(colour)
    by_hand = without.predict_inputs(network_inputs(crops, 48, table=table))
    # The label may be "unsure": no laboratory's cells are as purple as these.
    logits = [p.logit for p in by_hand]
    assert [p.logit for p in scaling.classify(crops)] == logits
    unscaled = [p.logit for p in without.predict_inputs(network_inputs(crops, 48))]
    assert [p.logit for p in without.classify(crops)] == unscaled
    assert unscaled != logits


def test_classify_scales_all_crops_together_and_says_so(stained: Path, tmp_path: Path) -> None:
    crops = purple_crops(5)
    for index, crop in enumerate(crops):
        write_image(tmp_path / f"{index}.png", crop)
    ran = run_cli("classify", tmp_path, "--bundle", stained, "--json")
    assert ran.code == 0, ran.err
    assert "one slide" in ran.err
    expected = crop_classifier(read_bundle(stained)).classify(crops)
    assert [row["p_parasitized"] for row in ran.json] == [p.p_parasitized for p in expected]


@pytest.mark.slow
def test_screen_records_the_colour_and_resume_repeats_it(stained: Path, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    gate = "--no-quality-gate"
    for out in (whole, torn):
        ran = run_cli("screen", SIM, "-o", out, "--bundle", stained, gate)
        assert ran.code == 0, ran.err
    counted = [record for record in journal(whole)[1:] if record.get("cells")]
    assert len(counted) >= 3
    for record in counted:
        assert len(record["stain"]["rgb"]) == 3
        assert len(record["stain"]["window"]) <= 30
    # Power fails in the middle of the third field's line.
    lines = (torn / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (torn / "journal.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:40])
    ran = run_cli("screen", SIM, "-o", torn, "--bundle", stained, gate, "--resume")
    assert ran.code == 0, ran.err
    assert timeless(journal(torn)) == timeless(journal(whole))


def test_without_the_step_the_journal_names_no_colour(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain"
    ran = run_cli("screen", SIM, "-o", out, "--bundle", plain, "--no-quality-gate")
    assert ran.code == 0, ran.err
    assert all("stain" not in record for record in journal(out))


def two_slides(folder: Path) -> Dataset:
    crops = purple_crops(6)
    for index, crop in enumerate(crops):
        kind = "Parasitized" if index % 3 == 0 else "Uninfected"
        (folder / kind).mkdir(exist_ok=True, parents=True)
        tinted = crop if index < 3 else (crop * np.array([1.0, 1.6, 1.0])).astype(np.uint8)
        slide = 7 if index < 3 else 9
        write_image(folder / kind / f"C{slide}P{slide}ThinF_IMG_1_cell_{index}.png", tinted)
    return open_dataset(folder)


def test_each_slide_of_a_data_set_is_scaled_by_itself(tmp_path: Path) -> None:
    dataset = two_slides(tmp_path / "data")
    tables = SlideTables(dataset, Preparation(48, stain=HOME))
    slides = {row.slide_key for row in dataset.rows}
    assert len(slides) == 2
    assert tables.warning == ""
    for slide in slides:
        rows = [row for row in dataset.rows if row.slide_key == slide]
        colour = crops_colour([dataset.read(row) for row in rows])
        assert colour is not None
        for row in rows:
            wanted = network_input(dataset.read(row), 48, table=HOME.table(colour))
            np.testing.assert_array_equal(tables.input(row), wanted)


def test_unknown_slides_are_one_slide_and_a_warning(tmp_path: Path) -> None:
    dataset = two_slides(tmp_path / "data")
    rows = tuple(Row(row.file, row.label) for row in dataset.rows)
    unknown = SlideTables(Dataset(dataset.path, rows), Preparation(48, stain=HOME))
    assert unknown.warning == ONE_SLIDE
    first, *rest = (unknown.of(row) for row in rows)
    assert first is not None
    assert all(table is first for table in rest)
    assert SlideTables(dataset, 48).of(dataset.rows[0]) is None
