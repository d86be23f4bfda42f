"""Does the contract hold? The author's own answers, labels, a table of contracts to choose from.

Nothing here chooses a contract: it refuses, or shows.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_malaria import metrics
from edge_malaria.data.dataset import Dataset, Row
from edge_malaria.errors import DatasetError, GateFailed
from edge_malaria.export.importers.contract import Contract, Declared, Incomplete, option
from edge_malaria.export.importers.importing import answers, sigmoid
from edge_malaria.export.importers.original import Original
from edge_malaria.export.importers.scaling import COLOURS, RANGES
from edge_malaria.files import read_image
from edge_malaria.prepare.contract import RESIZES, Preparation
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.records import Image

Logits = Callable[[Any], NDArray[np.float32]]
_COLUMNS = ("p_parasitized", "probability", "p")
# The author may have resized in float and printed four digits: a grey level's rounding changes a
# probability by less than this, a wrong colour order, range or resize by more on some cell.
LARGEST_DIFFERENCE = 0.02
# The same in logits, as a share of their spread, where the probabilities are not at an end.
_LARGEST_SHARE = 0.05
_MIDDLE = (1e-3, 1.0 - 1e-3)
_LEAST_EXPECTED = 8
# AUC from which labels prove the order of the classes (and 1 less it, the other order).
PROVEN_AUC = 0.75
LEAST_LABELLED = 50


def read_expected(path: Path) -> dict[str, float]:
    """``predictions.csv``: columns ``file`` and ``p_parasitized`` (or ``probability``).

    Raises:
        DatasetError: not such a table, or a value that is no probability.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}.") from error
    reader = csv.DictReader(io.StringIO(text))
    names = [name.strip() for name in reader.fieldnames or ()]
    column = next((name for name in _COLUMNS if name in names), None)
    if "file" not in names or column is None:
        raise DatasetError(
            f"{path}: expected columns file and p_parasitized (the probability that the cell is "
            f"parasitized, by the author's own script), got {', '.join(names) or 'none'}."
        )
    found = {}
    for record in reader:
        try:
            value = float(record[column])
        except (TypeError, ValueError):
            value = float("nan")
        if not (0.0 <= value <= 1.0):
            raise DatasetError(
                f"{path}, {record.get('file')}: expected a probability, got {record[column]!r}."
            )
        found[str(record["file"])] = value
    if not (len(found) >= _LEAST_EXPECTED):
        raise DatasetError(f"{path}: expected at least {_LEAST_EXPECTED} cells, got {len(found)}.")
    return found


def expected_crops(path: Path, names: Iterable[str], dataset: Dataset | None) -> list[Image]:
    """The crops that the table names: from the data set, else from files beside the table.

    Raises:
        DatasetError: a file is found in neither place.
    """
    rows: dict[str, Row] = {}
    for row in () if dataset is None else dataset.rows:
        rows.setdefault(row.file, row)
        rows.setdefault(row.name, row)
        rows.setdefault(Path(row.name).stem, row)
    crops = []
    for name in names:
        named = rows.get(name) or rows.get(Path(name).name) or rows.get(Path(name).stem)
        places = [path.parent / name, Path(name)]
        file = next((place for place in places if place.is_file()), None)
        if named is not None and dataset is not None:
            crops.append(dataset.read(named))
        elif file is not None:
            crops.append(read_image(file))
        else:
            raise DatasetError(f"{path} names {name}, which is neither in --data nor beside it.")
    return crops


@dataclass(frozen=True)
class Agreement:
    """How far the network through the contract is from the author's answers."""

    cells: int
    largest: float
    mean: float
    share: float | None

    @property
    def passed(self) -> bool:
        """Whether they are the same but for rounding."""
        near = self.largest <= LARGEST_DIFFERENCE
        return bool(near and (self.share is None or self.share <= _LARGEST_SHARE))


def agreement(got: NDArray[np.float64], expected: NDArray[np.float64]) -> Agreement:
    """Compares probabilities [N]."""
    off = np.abs(got - expected)
    inside = (expected > _MIDDLE[0]) & (expected < _MIDDLE[1])
    share = None
    if np.count_nonzero(inside) >= _LEAST_EXPECTED:
        ends = np.clip(got[inside], 1e-6, 1.0 - 1e-6), expected[inside]
        mine, theirs = (np.log(p / (1.0 - p)) for p in ends)
        share = float(np.sqrt(np.mean((mine - theirs) ** 2)) / max(float(theirs.std()), 1e-9))
    return Agreement(len(got), float(off.max()), float(off.mean()), share)


def check_expected(
    path: Path, logits: Logits, target: Preparation, dataset: Dataset | None
) -> Agreement:
    """The network through the contract must answer as the author's own script did.

    Raises:
        DatasetError: the table or its files cannot be read.
        GateFailed: it does not, or the table cannot show it.
    """
    table = read_expected(path)
    expected = np.array(list(table.values()))
    if not (float(expected.max() - expected.min()) > 0.05):
        raise GateFailed(f"{path}: all its probabilities are alike, so it proves nothing.")
    crops = expected_crops(path, table, dataset)
    got = sigmoid(logits(network_inputs(crops, target)))
    found = agreement(got, expected)
    if not found.passed:
        turned = agreement(1.0 - got, expected).largest < found.largest / 4
        hint = (
            "The classes look turned: change --classes."
            if turned
            else "Range, colours, resize or classes are not the author's: try --suggest."
        )
        spread = "" if found.share is None else f", logits by {found.share:.2f} of their spread"
        raise GateFailed(
            f"--expect {path}: on {found.cells} cells the network through this contract differs "
            f"from the author's answers by up to {found.largest:.3g} (limit "
            f"{LARGEST_DIFFERENCE:g}){spread}. {hint}"
        )
    return found


def labelled(dataset: Dataset, target: Preparation | int, count: int) -> tuple[Image, Any]:
    """About ``count`` val cells, prepared, and their truth bool [N]."""
    chosen = dataset.select("val" if dataset.has_splits else "all").thinned(count)
    inputs = network_inputs([chosen.read(row) for row in chosen.rows], target)
    return inputs, np.array([row.label == 1 for row in chosen.rows])


@dataclass(frozen=True)
class Suggestion:
    """One contract that was tried."""

    contract: Contract
    accuracy: float
    auc: float


def suggest(
    original: Original,
    declared: Declared,
    told: Mapping[str, str],
    dataset: Dataset,
    cells: int = 200,
) -> list[Suggestion]:
    """Tries the contracts that the file and the declaration leave open on val cells, best first.

    Raises:
        DatasetError: no val cells.
    """
    fixed = {**told, **declared.said}
    chosen = dataset.select("val" if dataset.has_splits else "all").thinned(cells)
    crops = [chosen.read(row) for row in chosen.rows]
    truth = np.array([row.label == 1 for row in chosen.rows])
    size = original.graph.size_px
    orders: Sequence[tuple[str, ...]] = (
        [declared.classes]
        if declared.classes
        else [("Uninfected", "Parasitized"), ("Parasitized", "Uninfected")]
    )
    tried = []
    for resize in [fixed["resize"]] if "resize" in fixed else RESIZES:
        inputs = network_inputs(crops, Preparation(size, resize))
        for input_range in [fixed["input_range"]] if "input_range" in fixed else RANGES:
            for colour in [fixed["colour"]] if "colour" in fixed else COLOURS:
                made = Contract(
                    size, input_range, colour, resize, "black", told["output"], orders[0], {}
                )
                chances = answers(original, made, inputs)
                for classes in orders:
                    ours = replace(made, classes=classes)
                    p = chances if ours.positive == made.positive else 1.0 - chances
                    found = metrics.auc(truth, p)
                    accuracy = float(((p >= 0.5) == truth).mean())
                    tried.append(Suggestion(ours, accuracy, 0.0 if found is None else found))
    return sorted(tried, key=lambda one: (-round(one.accuracy, 4), -one.auc))


def line_to_type(model: str, contract: Contract) -> str:
    """The options that declare a contract."""
    parts = [f"edge-malaria export {model}"]
    for key in ("input_range", "colour", "resize", "output"):
        parts.append(f"{option(key)} {getattr(contract, key)}")
    return " ".join([*parts, f"--classes {','.join(contract.classes)}"])


def prove_classes(chances: NDArray[np.float64], truth: NDArray[np.bool_], name: str) -> int:
    """Which output is parasitized, where labels show it beyond doubt: 0 or 1.

    Args:
        chances: [N], what output 1 says.
        truth: bool [N].
        name: of the model, for the message.

    Raises:
        Incomplete: too few cells, or an AUC that proves nothing.
    """
    found = metrics.auc(truth, chances)
    value = 0.5 if found is None else float(found)
    enough = int(truth.sum()) >= LEAST_LABELLED and int((~truth).sum()) >= LEAST_LABELLED
    shown = f"AUC {value:.3f}" if enough else f"expected {LEAST_LABELLED} of each class"
    if not enough or not (value >= PROVEN_AUC or value <= 1.0 - PROVEN_AUC):
        why = f"{name}: {len(truth)} labelled cells do not prove which class is which"
        raise Incomplete(name, ["classes"], f"edge-malaria export {name}", f"{why} ({shown})")
    return 1 if value >= 0.5 else 0
