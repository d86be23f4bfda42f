"""Rounds of fine-tuning on other laboratories' cells."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.errors import UsageError
from edge_malaria.keras_layers import keras
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.architectures import build, registry
from edge_malaria.training.classifier import laboratory_rounds as rounds
from edge_malaria.training.classifier.artefacts import Platelet
from edge_malaria.training.classifier.asked_again import SecondNetwork
from edge_malaria.training.classifier.checkpoint import read_checkpoint
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.foreign_cells import ForeignCells, cutting_code_sha256
from edge_malaria.training.classifier.laboratory_material import Material, stored_logits
from edge_malaria.training.classifier.laboratory_plans import PLANS, Plan
from edge_malaria.training.classifier.pool import PoolPlan
from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.classifier.residual import residual_network
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.classifier.transplant import extract

HOME, FOREIGN = 24, 12
SMALL = "small-for-test"


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """An architecture of one convolution: what the rounds do is soon done with it."""

    @registry.register(SMALL, 48, "one convolution")
    def make(size: int) -> Any:
        inputs = keras.Input((size, size, 3))
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Conv2D(4, 3, strides=4, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(inputs, keras.layers.Dense(1)(x))

    yield
    registry._REGISTRY.pop(SMALL)


def cells_of(kinds: list[str], seed: int) -> Image:
    rng = np.random.default_rng(seed)
    drawn = [draw_cell(rng, kind) for kind in kinds]  # type: ignore[arg-type]
    return np.stack([network_input(cell.image, 48, cell.mask) for cell in drawn])


@pytest.fixture(scope="module")
def material(small: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Material]:
    """Drawn crops in the NIH layout, drawn cells of two laboratories, an untrained network."""
    root = tmp_path_factory.mktemp("material")
    write_crops(root / "nih")
    save_model(build(SMALL, 48), root / "default.keras")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(root / "cache"))
        made = Material(root, root / "runs", root)
        laboratory = np.array(["bccd", "pbc"]).repeat(FOREIGN // 2)
        names = np.array(["drawn"] * FOREIGN)
        made.foreign = ForeignCells(cells_of(["healthy"] * FOREIGN, 2), laboratory, names)
        rings = [extract(cell) for cell in cells_of(["ring"] * 8, 4)]
        made.platelets = [Platelet(spot, "bccd") for spot in rings if spot is not None]
        yield made


def write_crops(folder: Path) -> None:
    """cell_images.zip and patients.csv: a patient of each split, both classes."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    lines = ["file,class,patient_id,slide_key,field_id,split,fold,suspect_label"]
    with zipfile.ZipFile(folder / "cell_images.zip", "w") as packed:
        for number in range(HOME):
            kind, label = (("healthy", "Uninfected"), ("ring", "Parasitized"))[number % 2]
            crop = draw_cell(rng, kind)  # type: ignore[arg-type]
            pixels = crop.image * crop.mask[:, :, None].astype(np.uint8)
            png = cv2.imencode(".png", pixels[:, :, ::-1])[1]
            packed.writestr(f"cell_images/{label}/{number}.png", png.tobytes())
            patient = number // 2 % 3
            split = ("train", "val", "test")[patient]
            lines.append(f"{number}.png,{label},P{patient},S{patient},F,{split},{patient},0")
    (folder / "patients.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def pool(material: Material) -> Path:
    return material.draw(PoolPlan(passes=1, foreign=0.5, transplanted=0.5))


def test_interpolation_lies_between_the_two_networks() -> None:
    before, after = build(SMALL, 48), build(SMALL, 48)
    old, new = before.get_weights(), after.get_weights()
    rounds.interpolate(old, after, 0.25)
    for was, became, now in zip(old, new, after.get_weights(), strict=True):
        np.testing.assert_allclose(now, 0.75 * was + 0.25 * became, atol=1e-6)


@pytest.mark.slow
def test_rounds_end_with_the_last_average_and_start_from_what_was_there(
    material: Material, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=2, batch=4, learning_rate=1e-3, label_smoothing=0.0)
    second = dataclasses.replace(recipe, seed=7)
    plan = Plan(SMALL, (recipe, second), recipe, share=0.5, start="default")
    monkeypatch.setitem(PLANS, "default", plan)
    monkeypatch.setattr(rounds, "BATCH", (4, 2, 2, 2))
    # An untrained reference knows no label: none may be left out for its doubt.
    monkeypatch.setattr(rounds, "Reference", lambda logits: _open_minded(logits))
    seen: list[str] = []
    made = rounds.fine_tuned(
        material,
        "default",
        pool,
        tmp_path / "run",
        ("pbc",),
        lambda stage, entry: seen.append(stage),
    )
    assert seen == ["run round 0"] * 2 + ["run round 1"] * 2
    last = read_checkpoint(tmp_path / "run" / "round1" / "checkpoint.npz").averaged
    before = material.reference.get_weights()
    for weight, first, final in zip(made.get_weights(), before, last, strict=True):
        np.testing.assert_allclose(weight, 0.5 * first + 0.5 * final, atol=1e-6)
    again = rounds.fine_tuned(material, "default", pool, tmp_path / "run")
    for weight, other in zip(made.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.slow
def test_a_teacher_is_fitted_first_without_the_same_laboratories(
    material: Material, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=1, batch=4, learning_rate=1e-3, label_smoothing=0.0, teacher_share=1.0)
    distilled = Plan(
        SMALL, (recipe,), recipe, start="default", distilled_from="teacher", turned=True
    )
    monkeypatch.setitem(PLANS, "default", distilled)
    by = Plan(SMALL, (recipe,), recipe)
    monkeypatch.setitem(PLANS, "teacher", by)
    monkeypatch.setattr(rounds, "BATCH", (4, 2, 2, 2))
    monkeypatch.setattr(rounds, "Reference", lambda logits: _open_minded(logits))
    asked: list[tuple[str, ...]] = []
    given = rounds.examples

    def noted(*args: Any, **named: Any) -> Any:
        asked.append(args[3])
        return given(*args, **named)

    monkeypatch.setattr(rounds, "examples", noted)
    rounds.fine_tuned(material, "default", pool, tmp_path / "run", ("pbc",))
    assert asked == [("pbc",), ("pbc",)]
    teacher = rounds.run_of(tmp_path, "teacher", ("pbc",))
    assert teacher == tmp_path / "teacher-without-pbc"
    assert (teacher / "float.keras").is_file()
    (again,) = rounds.teachers(material, "default", pool, tmp_path / "run", ("pbc",))
    last = read_checkpoint(teacher / "round0" / "checkpoint.npz").averaged
    for weight, kept in zip(again.get_weights(), last, strict=True):
        np.testing.assert_array_equal(weight, kept)


def _parts(material: Material, views: bool, shift: float, temperature: float) -> list[Any]:
    """Two parts of the home cells with made-up logits."""
    total, rng = len(material.home["full"]), np.random.default_rng(3)
    halves = np.array_split(np.arange(total), 2)
    return [
        rounds.PartLogits(
            number, cells, told, told + 1 if views else None, temperature, 0.5, told, cells % 2
        )
        for number, cells in enumerate(halves)
        if (told := rng.normal(shift, 2, len(cells)).astype(np.float32)) is not None
    ]


def test_cross_fitted_cells_are_asked_again_by_whoever_ships(material: Material) -> None:
    full = material.home["full"]
    first, second = _parts(material, False, 0.0, 0.8), _parts(material, False, 3.0, 2.0)
    alone = rounds.cross_fitted(full, first)
    assert alone.again is None
    both = rounds.cross_fitted(full, first, second)
    np.testing.assert_array_equal(both.chances, alone.chances)
    logits = np.concatenate([part.logits for part in second])
    # With the second network's own temperature and bias.
    np.testing.assert_allclose(both.again, 1 / (1 + np.exp(-(logits + 0.5) / 2.0)), rtol=1e-6)
    views = rounds.cross_fitted(full, _parts(material, True, 0.0, 0.8))
    assert views.again is not None and (views.again > views.chances).all()


def test_a_second_network_answers_on_the_scale_of_the_first(material: Material) -> None:
    network, val = build(SMALL, 48), material.val
    asking = SecondNetwork(network, (2.0, 0.5), 0.3)
    own = predict(network, val.inputs)
    told = asking.logits(val, np.zeros(len(val), np.float32), (0.8, 1.5))
    np.testing.assert_allclose((told + 1.5) / 0.8, (own + 0.5) / 2.0, rtol=1e-4, atol=1e-4)


def test_the_second_network_has_one_logit_and_stays_below_400_kb_in_int8() -> None:
    network = residual_network(48)
    assert network.output_shape == (None, 1)
    assert 200_000 < network.count_params() < 400_000
    cells = np.zeros((2, 48, 48, 3), np.float32)
    assert np.isfinite(np.asarray(network(cells, training=False))).all()


def _open_minded(logits: Any) -> Any:
    from edge_malaria.training.classifier.pool_batches import Reference

    return Reference(logits, doubt=1.1, visible=-1e9)


def test_material_opens_train_and_val_alone(material: Material) -> None:
    assert {row.split for row in material.home["full"].rows} == {"train", "val"}
    assert {row.split for row in material.val.rows} == {"val"}
    assert material.split("train").sum() + material.split("val").sum() == len(material.home["full"])


def test_a_networks_logits_are_kept_beside_the_pass(material: Material, pool: Path) -> None:
    folder = pool / "pass-000"
    first = stored_logits(material.reference, "once")(folder, "foreign")
    # What is stored is read, whatever network is given.
    again = stored_logits(None, "once")(folder, "foreign")
    np.testing.assert_array_equal(first, again)
    assert first.shape == (len(np.load(folder / "foreign_index.npy")),)


def test_cut_cells_are_kept_for_the_code_that_cut_them() -> None:
    assert len(cutting_code_sha256()) == 64
    assert cutting_code_sha256() == cutting_code_sha256()


def test_what_was_fine_tuned_is_not_fine_tuned_again(tmp_path: Path) -> None:
    from tools.fine_tune_laboratories import expect_not_fine_tuned

    with pytest.raises(UsageError, match="build_models"):
        expect_not_fine_tuned(tmp_path, ["default"])
    record = tmp_path / "default.json"
    record.write_text('{"provenance": {"arch": "compact"}}')
    expect_not_fine_tuned(tmp_path, ["default"])
    record.write_text('{"provenance": {"laboratories": {}}}')
    with pytest.raises(UsageError, match="already"):
        expect_not_fine_tuned(tmp_path, ["default"])
