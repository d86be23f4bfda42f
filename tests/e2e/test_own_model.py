"""Models of others through the command: every line of docs/OWN_MODEL.md, and what is refused."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.export.load import load_source
from edge_malaria.files import sha256_of, write_image
from tests.cli import run_cli
from tests.export.importers import authors
from tests.export.importers.author_files import saved
from tests.export.importers.authors import Habit

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

DOCUMENT = Path(__file__).parents[2] / "docs" / "OWN_MODEL.md"
TUTORIAL = Habit(50, "0-1", "rgb", "linear", "sigmoid", 0, "sequential", "keras")
SOFTMAX = replace(TUTORIAL, output="softmax", parasitized=1, file="keras2")
# Who made the model of each documented line.
AUTHORS = {
    "theirs.keras": TUTORIAL,
    "theirs.h5": SOFTMAX,
    "theirs": replace(TUTORIAL, colour="bgr", parasitized=1, file="saved_model"),
    "theirs.onnx": replace(TUTORIAL, input_range="imagenet", file="onnx"),
    "theirs.tflite": replace(TUTORIAL, input_range="-1-1", resize="area", file="tflite"),
}


def documented() -> list[str]:
    """The export lines of the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(r"^edge-malaria (export theirs.*)$", text, flags=re.M)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells of ten patients: 70 of a class on val."""
    root = tmp_path_factory.mktemp("data") / "cells"
    images, truth = authors.crops(200, seed=21)
    lines = ["file,class,patient_id,split"]
    for index, (image, sick) in enumerate(zip(images, truth, strict=True)):
        split = ("train", "val", "val")[index // 2 % 3]
        label = "Parasitized" if sick else "Uninfected"
        write_image(root / label / f"{label}{index}.png", image)
        lines.append(f"{label}{index}.png,{label},{split}{index // 2 % 15},{split}")
    (root / "patients.csv").write_text("\n".join(lines) + "\n")
    return root


def made(folder: Path, habit: Habit) -> Path:
    """The author's model in a folder."""
    return saved(authors.network(habit), folder, habit)


@pytest.mark.long
def test_what_is_not_told_is_asked_for(tmp_path: Path, cells: Path) -> None:
    path = made(tmp_path, TUTORIAL)
    typed = ("export", str(path), "--int8", "--colour", "rgb", "-o", "a b")
    asked = run_cli(*typed, cwd=tmp_path)
    assert asked.code == 2
    line = shlex.split(asked.err.splitlines()[-1])
    assert line[1:7] == list(typed[:-1])[:6] and line[:1] == ["edge-malaria"] and "a b" in line
    assert line[-6::2] == ["--input-range", "--resize", "--classes"]
    choices = [word.split("|") for word in line[-5::2]]
    last = [*line[1:-6], "--input-range", choices[0][0], "--resize", choices[1][1]]
    asked = run_cli(*last, cwd=tmp_path)
    assert asked.code == 2
    # One part alone is missing: each line can be typed as it stands.
    lines = [shlex.split(line)[1:] for line in asked.err.splitlines()[-2:]]
    assert lines == [[*last, "--classes", names] for names in choices[2]]
    asked = run_cli("evaluate", path, cells, "--split", "val", cwd=tmp_path)
    assert "theirs.toml" in asked.err and 'colour = "rgb|bgr"' in asked.err
    read_as_logit = run_cli("export", path, "--output", "logit", cwd=tmp_path)
    assert read_as_logit.code == 2
    assert "can never be read as a logit" in read_as_logit.error
    torch = run_cli("export", "theirs.pth", "--int8", cwd=tmp_path)
    assert torch.code == 2
    assert "torch.onnx.export(" in torch.err
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.keras"]


def test_lines_to_type_stay_whole_however_long_the_names_are(tmp_path: Path) -> None:
    folder = tmp_path / ("a folder with a long name " * 9).strip()
    folder.mkdir()
    path = made(folder, TUTORIAL)
    known = ("--colour", "rgb", "--resize", "linear", "--classes", "Parasitized,Uninfected")
    asked = run_cli("export", path, "--int8", *known, "-o", folder / "out", cwd=tmp_path)
    assert asked.code == 2
    typed = [shlex.split(line) for line in asked.err.splitlines() if "edge-malaria export" in line]
    assert [line[-1] for line in typed] == ["0-1", "-1-1", "0-255", "imagenet", "caffe"]
    assert {tuple(line[:4]) for line in typed} == {("edge-malaria", "export", str(path), "--int8")}


def test_a_contract_in_a_toml_and_its_faults(tmp_path: Path, cells: Path) -> None:
    path = made(tmp_path, TUTORIAL)
    beside = path.with_suffix(".toml")
    beside.write_text('input_range = "0-1"\ncolour = "rgb"\nresise = "linear"\n')
    assert "unknown key resise" in run_cli("export", path, cwd=tmp_path).error
    beside.write_text(
        'input_range = "0-1"\ncolour = "rgb"\nresize = "linear"\n'
        'classes = ["Uninfected", "Parasitized"]\n'
    )
    turned = run_cli("export", path, "--data", cells, cwd=tmp_path)
    assert turned.code == 1
    assert "looks inverted" in turned.error
    beside.write_text(beside.read_text().replace('"Uninfected", "Par', '"Parasitized", "Uninf'))
    beside.write_text(beside.read_text().replace('"Parasitized", "Uninfasitized"', '"a", "b"'))
    odd = run_cli("export", path, "--data", cells, cwd=tmp_path)
    assert odd.code == 2
    assert "--classes" in odd.error


def test_suggest_shows_and_chooses_none(tmp_path: Path, cells: Path) -> None:
    path = made(tmp_path, TUTORIAL)
    ran = run_cli("export", path, "--suggest", "--data", cells, "--resize", "linear", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "None was chosen" in ran.out
    assert "20 contracts tried" in ran.out
    first = next(line for line in ran.out.splitlines() if "--input-range" in line)
    assert "--input-range 0-1" in first and "--classes Parasitized,Uninfected" in first
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.keras"]


def test_the_document_has_a_line_of_each_kind() -> None:
    assert {shlex.split(line)[1] for line in documented()} == set(AUTHORS)


@pytest.mark.long
@pytest.mark.parametrize("line", documented(), ids=lambda line: shlex.split(line)[1])
def test_each_documented_line_works_as_it_stands(line: str, cells: Path, tmp_path: Path) -> None:
    words = shlex.split(line)
    habit = AUTHORS[words[1]]
    network = authors.trained_network(habit)
    saved(network, tmp_path, habit)
    (tmp_path / "cells").symlink_to(cells)
    ran = run_cli(*words, cwd=tmp_path)
    assert ran.code == 0, ran.err
    bundle = read_bundle(tmp_path / "theirs-bundle")
    contract = bundle.record["provenance"]["contract"]
    assert contract["classes"]["value"] == list(habit.classes)
    spec = bundle.classifier
    assert spec.preparation is not None
    assert spec.preparation.resize == habit.resize
    images, truth = authors.crops(40, seed=33)
    from edge_malaria.runtime.classify.classifier import Classifier

    said = np.array([p.p_parasitized for p in Classifier(bundle, "int8").classify(images)])
    theirs = authors.answers(network, images, habit)
    assert ((said >= 0.5) == (theirs >= 0.5)).mean() >= 0.95
    assert ((said >= 0.5) == truth).mean() >= 0.9


@pytest.mark.long
def test_a_model_of_somebody_else_is_pruned(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = saved(authors.trained_network(TUTORIAL), tmp_path, TUTORIAL)
    path.with_suffix(".toml").write_text(
        'input_range = "0-1"\ncolour = "rgb"\nresize = "linear"\n'
        'classes = ["Parasitized", "Uninfected"]\n'
    )
    short = ("--rounds", "1", "--epochs", "2", "--fine-tune", "1")
    ran = run_cli(
        *("prune", path, "--data", cells, "-o", tmp_path / "smaller.keras", *short, "--json")
    )
    assert ran.code == 0, ran.err
    before, after = (load_source(str(p)) for p in (path, tmp_path / "smaller.keras"))
    assert after.weights < 0.8 * before.weights
    assert after.has_ranges  # it is one of this project's own now
    judged = run_cli("evaluate", tmp_path / "smaller.keras", cells, "--split", "val", "--json")
    assert judged.code == 0, judged.err
    assert judged.json["accuracy"] > 0.85


def published() -> Any:
    """As tutorials of Keras 2 build it: each batch norm behind its pooling, softmax over two."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    body: list[Any] = [keras.Input((50, 50, 3))]
    for filters in (8, 16, 24):
        body += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
        body += [layers.BatchNormalization(momentum=0.8)]
    body += [layers.Conv2D(4, 1, activation="relu"), layers.Flatten()]
    model = keras.Sequential([*body, layers.Dense(2, activation="softmax")])
    images, truth = authors.crops(320, seed=17)
    pixels = authors.prepared(images, SOFTMAX)
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    model.fit(pixels, truth.astype(np.int64), batch_size=32, epochs=12, verbose=0)
    return model


@pytest.mark.long
def test_what_prune_writes_of_a_published_network_is_exported_and_keeps_its_origin(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = saved(published(), tmp_path, SOFTMAX)
    path.with_suffix(".toml").write_text(
        'input_range = "0-1"\ncolour = "rgb"\nresize = "linear"\n'
        'classes = ["Uninfected", "Parasitized"]\n'
    )
    first, again = tmp_path / "first.keras", tmp_path / "again.keras"
    short = ("--data", cells, "--keep", "0.8", "--rounds", "1", "--fine-tune", "1")
    for source, smaller in ((path, first), (first, again)):
        ran = run_cli("prune", source, *short, "-o", smaller, cwd=tmp_path)
        assert ran.code == 0, ran.err
    ran = run_cli("export", again, "--int8", "--data", cells, "--json", cwd=tmp_path)
    assert ran.code == 0, ran.err
    record = read_bundle(tmp_path / "again-bundle").record
    origin = record["provenance"]["pruned_from"]
    assert origin["contract"]["output"]["value"] == "softmax"
    assert origin["model_sha256"] == sha256_of(path)
    assert "contract" not in record["provenance"], "it takes this project's own cells now"
    assert ran.json["evaluation"]["accuracy"] > 0.85


def test_prune_says_which_cells_it_cannot_make(tmp_path: Path, cells: Path) -> None:
    path = made(tmp_path, replace(TUTORIAL, resize="pad"))
    path.with_suffix(".toml").write_text(
        'input_range = "0-1"\ncolour = "rgb"\nresize = "pad"\n'
        'classes = ["Parasitized", "Uninfected"]\n'
    )
    ran = run_cli("prune", path, "--data", cells, "-o", tmp_path / "b.keras", cwd=tmp_path)
    assert ran.code == 2
    assert "takes cells by resize pad" in ran.error
    assert not (tmp_path / "b.keras").exists()
