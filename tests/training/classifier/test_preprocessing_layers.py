"""The studies' preprocessing inside the network: right numbers, stored, exported, honest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.to_tflite import convert, quantization_of
from edge_malaria.data.dataset import open_dataset
from edge_malaria.errors import UsageError
from edge_malaria.keras_inputs import (
    SPREAD,
    LocalContrastNormalization,
    PerImageCentering,
    Whitening,
    in_graph_steps,
    zca_kernel,
)
from edge_malaria.keras_layers import keras, load_model
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import open_engine
from edge_malaria.synthetic import draw_cell
from edge_malaria.training.architectures import build
from edge_malaria.training.classifier.fit import predict
from edge_malaria.training.classifier.preprocessing import OPTIONS, median_size, with_preprocessing
from edge_malaria.training.pruning.channels import map_channels
from edge_malaria.training.quantization.fold import fold, obstacle
from edge_malaria.training.quantization.quantize_aware import finish, prepare
from tests.training.classifier.test_training_data import SPLITS, write_dataset

SIZE = 24


@pytest.fixture(scope="module")
def cells() -> Image:
    rng = np.random.default_rng(4)
    drawn = [draw_cell(rng, kind) for kind in ("healthy", "ring", "schizont") for _ in range(10)]
    return network_inputs([cell.image for cell in drawn], SIZE, [cell.mask for cell in drawn])


def test_centering_takes_each_pictures_mean_away(cells: Image) -> None:
    values = np.asarray(PerImageCentering()(cells.astype(np.float32)))
    assert np.abs(values.mean(axis=(1, 2))).max() < 1e-3
    brighter = np.asarray(PerImageCentering()(cells.astype(np.float32) + 20.0))
    assert brighter == pytest.approx(values, abs=1e-3)


def test_local_contrast_by_hand_and_its_floor() -> None:
    layer = LocalContrastNormalization(window=3, floor=4.0)
    flat = np.full((1, 9, 9, 3), 120.0, np.float32)
    assert np.abs(np.asarray(layer(flat))).max() < 1e-3
    board = (
        np.zeros((1, 9, 9, 1), np.float32) + np.indices((9, 9)).sum(axis=0)[None, :, :, None] % 2
    )
    strong, weak = (np.asarray(layer(np.repeat(board * k, 3, axis=3))) for k in (200.0, 100.0))
    inner = np.s_[:, 3:-3, 3:-3]
    assert np.abs(strong[inner]).mean() == pytest.approx(SPREAD, rel=0.1)
    assert strong[inner] == pytest.approx(weak[inner], rel=0.02)
    with pytest.raises(ValueError, match="odd window"):
        LocalContrastNormalization(window=4)


def test_whitened_patches_are_uncorrelated(cells: Image) -> None:
    kernel, bias = zca_kernel(cells, 3, seed=1)
    assert kernel.shape == (3, 3, 3, 3) and bias.shape == (3,)
    layer = Whitening(3)
    layer.build((None, SIZE, SIZE, 3))
    layer.fit(cells, seed=1)
    before = np.float32(cells)
    after = np.asarray(layer(before))
    on_cell = (before.min(axis=-1) > 0)[:, 2:-2, 2:-2]
    shares = []
    for values in (before, after):
        table = np.corrcoef(values[:, 2:-2, 2:-2][on_cell], rowvar=False)
        shares.append(np.abs(table[np.triu_indices(3, 1)]).mean())
    assert shares[1] < 0.6 * shares[0]
    assert 0.2 * SPREAD < after[:, 2:-2, 2:-2][on_cell].std() < 2 * SPREAD
    assert np.array_equal(zca_kernel(cells, 3, seed=1)[0], kernel)


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_option_is_stored_and_named_in_the_contract(
    option: str, cells: Image, tmp_path: Path
) -> None:
    model = build("fast50", SIZE)
    wrapped = with_preprocessing(model, option, cells)
    assert wrapped.count_params() - model.count_params() == (228 if option == "whiten" else 0)
    assert np.abs(predict(wrapped, cells) - predict(model, cells)).max() > 1e-4
    path = tmp_path / "model.keras"
    wrapped.save(path)
    stored = load_model(path)
    assert np.array_equal(predict(stored, cells), predict(wrapped, cells))
    (name,) = in_graph_steps(stored)
    assert name in ("centre-per-image", "local-contrast-normalization", "whitening")
    assert in_graph_steps(model) == ()


def test_unknown_option_is_refused(cells: Image) -> None:
    with pytest.raises(UsageError, match="whiten"):
        with_preprocessing(build("fast50", SIZE), "sharpen", cells)


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_float_export_agrees_with_keras(option: str, cells: Image) -> None:
    keras.utils.set_random_seed(1)
    wrapped = with_preprocessing(build("fast50", SIZE), option, cells)
    engine = open_engine(convert(wrapped, "float32"), "litert")
    assert engine.run(cells).reshape(-1) == pytest.approx(predict(wrapped, cells), abs=2e-4)


def test_whitening_lives_with_rounding_and_the_others_say_why_not(cells: Image) -> None:
    keras.utils.set_random_seed(1)
    whitened = with_preprocessing(build("fast50", SIZE), "whiten", cells)
    assert obstacle(whitened) is None
    assert predict(fold(whitened), cells) == pytest.approx(predict(whitened, cells), abs=1e-3)
    shipped = finish(prepare(whitened, cells), whitened)
    data = convert(shipped, "int8")
    assert quantization_of(data) == "int8"
    found = open_engine(data, "litert").run(cells).reshape(-1)
    scale = float(np.ptp(predict(whitened, cells)))
    assert np.abs(found - predict(whitened, cells)).max() < 0.25 * scale
    for option in ("centre", "lcn"):
        reason = obstacle(with_preprocessing(build("fast50", SIZE), option, cells))
        assert reason is not None and "no int8 range" in reason


def test_median_size_opens_the_given_rows_only(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path, SPLITS))
    # Cells of that set are 60 px; its test rows are no pictures at all.
    assert median_size(dataset.select("train")) == 60


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_pruning_leaves_the_colours_behind_an_option(option: str, cells: Image) -> None:
    plain = map_channels(build("fast50", SIZE))
    mapped = map_channels(with_preprocessing(build("fast50", SIZE), option, cells))
    assert len(mapped.prunable) == len(plain.prunable)
    colours = set(mapped.outputs[f"input_{option}"].tolist())
    assert len(colours) == 3 and not colours & set(mapped.prunable.tolist())
