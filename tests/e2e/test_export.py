"""``edge-malaria export``: the main job, with real converters and engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import write_image
from edge_malaria.runtime.engines.opening import open_engine
from tests.cli import Ran, hear_ctrl_c, run_cli, run_process, validate

PIXELS = np.random.default_rng(8).integers(0, 256, (64, 48, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients with three cells of each class."""
    root = tmp_path_factory.mktemp("data") / "cells"
    rng = np.random.default_rng(0)
    lines = ["file,class,patient_id,split"]
    for patient in range(8):
        split = ("train", "train", "train", "train", "val", "val", "test", "test")[patient]
        for label in ("Parasitized", "Uninfected"):
            for index in range(3):
                name = f"p{patient}_{label[0]}{index}.png"
                write_image(root / label / name, rng.integers(0, 256, (60, 50, 3), dtype=np.uint8))
                lines.append(f"{name},{label},P{patient},{split}")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return root


def test_float_files_say_what_keras_says(tiny_keras: Path, tiny_bundle: Path) -> None:
    from edge_malaria.export.load import load_source

    expected = load_source(str(tiny_keras)).logits(PIXELS)
    bundle = read_bundle(tiny_bundle)
    for engine in ("litert", "onnx"):
        data = bundle.read(bundle.classifier.file("float32", engine).file)
        got = open_engine(data, engine).run(PIXELS).reshape(-1)
        assert np.abs(got - expected).max() <= 1e-4


@pytest.fixture(scope="module")
def exported(tiny_keras: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The folder in which the command ran, and what it said."""
    folder = tmp_path_factory.mktemp("exported")
    return folder, run_process("export", tiny_keras, "--int8", cwd=folder)


def test_the_command_writes_a_bundle_and_says_what_to_do_next(
    exported: tuple[Path, Ran], tiny_keras: Path
) -> None:
    folder, ran = exported
    assert ran.code == 0, ran.err
    assert (folder / "tiny-bundle" / "bundle.json").is_file()
    assert "model.int8.tflite" in ran.out
    assert "edge-malaria parity tiny-bundle" in ran.out
    again = run_cli("export", tiny_keras, "--int8", cwd=folder)
    assert again.code == 2
    assert "--force" in again.error
    assert sorted(p.name for p in folder.iterdir()) == ["tiny-bundle"]


def test_two_exports_give_the_same_bytes(exported: tuple[Path, Ran], tiny_bundle: Path) -> None:
    """In a process of its own and in this one, which also wrote further variants."""
    one, other = read_bundle(exported[0] / "tiny-bundle"), read_bundle(tiny_bundle)
    first, second = one.contents, other.contents
    made = {name for name in first if name.endswith((".tflite", ".onnx", ".npz", ".png"))}
    assert {"model.float32.onnx", "model.int8.tflite", "golden/cells.npz"} <= made
    assert {name for name in made if first[name] != second[name]} == set()
    for key in ("decision", "preprocessing", "int8"):
        assert one.classifier.record[key] == other.classifier.record[key], key


@pytest.mark.slow
def test_a_model_without_ranges_calibrates_on_train_cells_only(cells: Path, tmp_path: Path) -> None:
    from edge_malaria.keras_layers import load_model, strip_fake_quant
    from tests.networks import spot_network

    plain = tmp_path / "plain.keras"
    strip_fake_quant(spot_network()).save(plain)
    plain.with_suffix(".json").write_text('{"decision": {}}')  # as training leaves it
    assert load_model(plain) is not None
    refused = run_cli("export", plain, "--int8", "-o", tmp_path / "no")
    assert refused.code == 2
    assert "--data" in refused.error
    assert not (tmp_path / "no").exists()

    given = ("--data", cells, "--format", "tflite", "-o", tmp_path / "gated", "--json")
    ran = run_cli("export", plain, "--int8", *given)
    # Six val cells of a class cannot show a change of a point: the margin says what they can show.
    assert ran.code == 0, ran.err
    validate(ran.json, "export")
    assert "widened from 1.0% to 50.0%: 6 val cells of a class" in ran.err
    bundle = read_bundle(tmp_path / "gated")
    assert {file["variant"] for file in ran.json["files"]} == set(bundle.classifier.variants)
    gate = bundle.classifier.record["gate"]
    assert (gate["delta"], gate["delta_asked"]) == (0.5, 0.01)
    used = bundle.classifier.record["int8"]["calibration_cells"]
    assert len(used) == 24
    assert {name.split("/")[1].split("_")[0] for name in used} == {"p0", "p1", "p2", "p3"}


def test_calibration_reads_no_row_outside_train(cells: Path) -> None:
    from converters.calibration import choose_calibration
    from edge_malaria.data.dataset import open_dataset

    data = open_dataset(cells)
    for row in data.rows:
        if row.split != "train":
            (cells / row.file).rename(cells / f"{row.file}.away")
    try:
        chosen = choose_calibration(data, 48, count=20)
    finally:
        for path in cells.rglob("*.away"):
            path.rename(path.with_suffix(""))
    assert len(chosen.files) == 20
    split = {row.file: row.split for row in data.rows}
    assert {split[name] for name in chosen.files} == {"train"}
    assert len({name.split("/")[1].split("_")[0] for name in chosen.files}) == 4


def test_calibration_needs_patients(cells: Path, tmp_path: Path) -> None:
    from converters.calibration import choose_calibration
    from edge_malaria.data.dataset import open_dataset
    from edge_malaria.errors import DatasetError

    for label in ("Parasitized", "Uninfected"):
        write_image(tmp_path / "d" / label / "a.png", PIXELS[0])
    with pytest.raises(DatasetError, match="no patients"):
        choose_calibration(open_dataset(tmp_path / "d"), 48)


def _bad_models(folder: Path) -> dict[str, Path]:
    import keras

    def save(name: str, *layers: object, shape: tuple[int, ...] = (48, 48, 3)) -> Path:
        path = folder / f"{name}.keras"
        keras.Sequential([keras.Input(shape), *layers]).save(path)
        return path

    flat = keras.layers.GlobalAveragePooling2D
    found = {
        "two outputs": save("two", flat(), keras.layers.Dense(2)),
        "grey input": save("grey", flat(), keras.layers.Dense(1), shape=(48, 48, 1)),
        "oblong": save("oblong", flat(), keras.layers.Dense(1), shape=(48, 40, 3)),
        "lambda": save(
            "lambda", keras.layers.Lambda(lambda x: x * 2), flat(), keras.layers.Dense(1)
        ),
    }
    corrupt = folder / "corrupt.keras"
    data = found["two outputs"].read_bytes()
    corrupt.write_bytes(data[: len(data) // 2])
    return {**found, "corrupt": corrupt, "missing": folder / "none.keras"}


@pytest.mark.usefixtures("tensorflow")
def test_bad_models_are_one_line_errors_and_nothing_is_written(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    expected = {
        "two outputs": (2, "--input-range"),
        "grey input": (2, "[N, S, S, 3]"),
        "oblong": (2, "[N, S, S, 3]"),
        "lambda": (5, "Lambda"),
        "corrupt": (5, "damaged"),
        "missing": (5, "does not exist"),
    }
    for name, path in _bad_models(models).items():
        code, words = expected[name]
        ran = run_cli("export", path, "--int8", "-o", tmp_path / "out" / name)
        assert (ran.code, words in ran.err) == (code, True), (name, ran.err)
    assert not list((tmp_path / "out").rglob("*")) if (tmp_path / "out").exists() else True


def test_unknown_names_and_formats(tiny_keras: Path, tmp_path: Path) -> None:
    unknown = run_cli("export", "no-such-model", cwd=tmp_path)
    assert unknown.code == 5
    assert "default" in unknown.error
    odd = run_cli("export", tiny_keras, "--format", "coreml", cwd=tmp_path)
    assert odd.code == 2
    assert "tflite, onnx" in odd.error


def test_a_nan_weight_never_ships(tiny_keras: Path, tmp_path: Path) -> None:
    import keras

    from edge_malaria.keras_layers import load_model

    model = load_model(tiny_keras)
    head = model.get_layer("head")
    weights, bias = head.get_weights()
    weights[3] = np.nan
    head.set_weights([weights, bias])
    broken = tmp_path / "nan.keras"
    keras.saving.save_model(model, broken)
    ran = run_cli("export", broken, "--int8", "--format", "tflite", "-o", tmp_path / "out")
    assert ran.code == 1, ran.err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(tiny_keras: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_malaria.cli.app", "export", str(tiny_keras), "--int8"]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("goldens"):
            break
    time.sleep(0.2)
    os.killpg(child.pid, signal.SIGINT)
    child.wait(timeout=60)
    child.stderr.close()
    assert child.returncode == 130
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_and_leaves_nothing(tiny_keras: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        ran = run_cli("export", tiny_keras, "--int8", "-o", disk / "bundle")
        assert ran.code == 5, ran.err
        assert "disk full" in ran.error
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_metadata_keeps_the_flatbuffer_as_it_was(tiny_bundle: Path) -> None:
    data = (tiny_bundle / "model.float32.tflite").read_bytes()
    with zipfile.ZipFile(tiny_bundle / "model.float32.tflite") as archive:
        start = min(entry.header_offset for entry in archive.infolist())
        assert json.loads(archive.read("metadata.json"))["variant"] == "float32"
    bare, full = open_engine(data[:start]), open_engine(data)
    assert (bare.run_raw(PIXELS) == full.run_raw(PIXELS)).all()
