"""Authors of all habits: the right contract changes nothing, each wrong one is refused."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.errors import GateFailed, UsageError
from edge_malaria.export.chance import check_calls
from edge_malaria.export.importers import Declared
from edge_malaria.export.importers.contract import settle
from edge_malaria.export.importers.importing import build, facts_of, logits_of, sigmoid
from edge_malaria.export.importers.original import read_original
from edge_malaria.export.importers.proof import check_expected
from edge_malaria.files import write_image
from edge_malaria.prepare.preprocess import network_inputs
from tests.export.importers import authors
from tests.export.importers.author_files import saved
from tests.export.importers.authors import Habit

SIDES = (50, 64, 128, 224)
FORMS = ("functional", "sequential", "nested")
FILES = ("keras", "keras2", "saved_model", "onnx", "tflite")
RANGES = ("0-1", "-1-1", "0-255", "imagenet", "caffe")


def drawn_habits(count: int) -> list[Habit]:
    """A spread over the grid in which every value of every habit occurs."""
    rng = np.random.default_rng(12)
    wheels = [
        itertools.cycle(rng.permutation(np.array(values, dtype=object)).tolist())
        for values in (
            SIDES,
            RANGES,
            ("rgb", "bgr"),
            ("area", "linear", "pad"),
            ("logit", "sigmoid", "softmax"),
            (1, 0, 0),
            FORMS,
            FILES,
        )
    ]
    turns = (1, 1, 3, 1, 2, 1, 4, 1)
    found = []
    for _ in range(count):
        values: list[Any] = []
        for wheel, turn in zip(wheels, turns, strict=True):
            for _ in range(turn):
                value = next(wheel)
            values.append(value)
        habit = Habit(*values)
        # Written layer by layer in PyTorch's way, a backbone is not nested.
        flat = habit.file == "onnx" and habit.form == "nested"
        found.append(Habit(*values[:6], "sequential", "onnx") if flat else habit)
    return found


def declared(habit: Habit) -> Declared:
    """What the author's documentation would say."""
    return Declared(
        habit.input_range, habit.colour, habit.resize, "black", habit.output, habit.classes
    )


def expectation(folder: Path, images: list[Any], chances: Any) -> Path:
    """predictions.csv beside its pictures."""
    path = folder / "predictions.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "probability"])
        for index, (image, chance) in enumerate(zip(images, chances, strict=True)):
            write_image(folder / f"cell{index:03d}.png", image)
            table.writerow([f"cell{index:03d}.png", f"{chance:.6f}"])
    return path


def check_author(habit: Habit, folder: Path) -> None:
    """One author through every check."""
    model = authors.network(habit)
    images, truth = authors.crops(60, seed=9)
    # docs/OWN_MODEL.md leaves these few out too: the author's own resize is a pixel off.
    kept = [not authors.opencv_misses_a_pixel(image, habit) for image in images]
    assert sum(kept) >= 57
    images, truth = [image for image, keep in zip(images, kept, strict=True) if keep], truth[kept]
    theirs = authors.answers(model, images, habit)
    path = saved(model, folder, habit)
    table = expectation(folder, images, theirs)
    original = read_original(path)
    told = facts_of(original)
    assert told["output"] == habit.output
    contract = settle(path.name, original.graph.size_px, declared(habit), told, labels=False)
    right = build(original, contract)
    pixels = np.stack([authors.resized(image, habit) for image in images])
    ours = sigmoid(logits_of(right.model, pixels))
    assert np.abs(ours - theirs).max() <= 1e-4, habit
    assert check_expected(table, lambda x: logits_of(right.model, x), contract.preparation, None)
    logits = logits_of(right.model, network_inputs(images, contract.preparation))
    assert check_calls(logits, truth, 0.0, "drawn cells").auc > 0.75
    for wrong in authors.wrong_ones(habit):
        other = settle(path.name, habit.size, declared(wrong), told, labels=False)
        made = build(original, other)
        with pytest.raises(GateFailed, match="--expect"):
            check_expected(table, lambda x, m=made: logits_of(m.model, x), other.preparation, None)
        if wrong.parasitized != habit.parasitized:
            logits = logits_of(made.model, network_inputs(images, other.preparation))
            with pytest.raises(GateFailed, match="looks inverted"):
                check_calls(logits, truth, 0.0, "drawn cells")
    for output in {"logit", "sigmoid", "softmax"} - {habit.output}:
        said = Declared(habit.input_range, habit.colour, habit.resize, None, output, habit.classes)
        with pytest.raises(UsageError, match="contradicts"):
            settle(path.name, habit.size, said, told, labels=True)


@pytest.mark.parametrize("habit", drawn_habits(2), ids=str)
def test_some_authors(habit: Habit, tmp_path: Path) -> None:
    check_author(habit, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("habit", drawn_habits(20)[2:], ids=str)
def test_more_authors(habit: Habit, tmp_path: Path) -> None:
    check_author(habit, tmp_path)
