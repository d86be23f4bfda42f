"""Before anything is converted: does the network, through its contract, say anything sensible?

A sigmoid read as a logit calls every cell parasitized, and turned classes call each the other way:
conversion keeps such answers perfectly. So they are refused by labels where there are any, and by
drawn cells where there are none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edge_malaria.bundle import golden
from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import GateFailed
from edge_malaria.export.convert import Log
from edge_malaria.export.importers import Declared, Loading, proof
from edge_malaria.export.source import Source

# Val cells that are looked at before the conversion; the gate afterwards sees them all.
_CELLS = 600


@dataclass(frozen=True, eq=False)
class OwnModel:
    """What is known of a model of somebody else.

    Attributes:
        declared: its contract, as far as it is known.
        loading: how its file is read.
        expect: the author's own answers (``predictions.csv``).
    """

    declared: Declared = field(default_factory=Declared)
    loading: Loading = field(default_factory=Loading)
    expect: Path | None = None


def show_contract(source: Source, log: Log) -> None:
    """Prints each part of the contract and where it comes from."""
    if source.contract is not None:
        for line in source.contract.lines():
            log(f"contract  {line}")
    for note in source.notes:
        log(f"note      {note}")


def check_expectation(source: Source, path: Path, dataset: Dataset | None, log: Log) -> None:
    """``--expect``: see ``importers.proof.check_expected``."""
    found = proof.check_expected(path, source.logits, source.target, dataset)
    log(
        f"expect    {found.cells} of the author's answers: largest difference {found.largest:.2g}, "
        f"mean {found.mean:.2g}"
    )


def check_on_labels(source: Source, dataset: Dataset, log: Log) -> bool:
    """Labelled val cells: turned classes, a constant answer, no better than chance are refused.

    Returns:
        Whether there were enough of each class to show that the network works.
    """
    inputs, truth = proof.labelled(dataset, source.target, _CELLS)
    if not (truth.any() and not truth.all()):
        raise GateFailed("the val split holds one class only: it cannot show that anything works.")
    logits = source.logits(inputs)
    found = proof.check_sense(
        logits, truth, source.threshold_logit, f"{len(truth)} labelled val cells"
    )
    log(f"labels    AUC {found:.4f} on {len(truth)} val cells, before conversion")
    return min(int(truth.sum()), int((~truth).sum())) >= proof.LEAST_LABELLED


def check_on_drawn(source: Source, cells: golden.GoldenCells) -> None:
    """Drawn cells whose truth is known, for models that come without labelled ones."""
    # The second half are blends, whose truth is what the network itself says.
    plain = slice(0, len(cells.inputs) - len(cells.inputs) // 2)
    inputs, truth = cells.inputs[plain], cells.truth[plain] == 1
    if not (truth.any() and not truth.all()):
        raise GateFailed("the drawn cells are of one class: they cannot show that anything works.")
    logits = source.logits(inputs)
    proof.check_sense(logits, truth, source.threshold_logit, f"{len(truth)} drawn cells")
