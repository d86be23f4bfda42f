"""Before anything is converted: is the network, through its contract, better than chance?

Labelled val cells say so where there are any, however few. Where they leave it open, drawn cells
are asked of a model of somebody else. It was not made for those, so more labelled cells overrule
them, and a refusal says how many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge_malaria import parity
from edge_malaria.bundle import golden, golden_draw
from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import GateFailed
from edge_malaria.export.chance import ENOUGH, Calls, check_calls
from edge_malaria.export.convert import Log
from edge_malaria.export.effort import Effort
from edge_malaria.export.importers import Declared, Loading, proof
from edge_malaria.export.source import Source
from edge_malaria.parity import judges


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


def check_on_labels(source: Source, dataset: Dataset, count: int, log: Log) -> Calls:
    """Labelled val cells: turned classes, a constant answer, no better than chance are refused.

    Args:
        source: the model.
        dataset: labelled cells; about ``count`` of its val split are run.
        count: the gate afterwards sees more.
        log: told the AUC.

    Returns:
        The calls; of few cells they may leave open whether the network works.
    """
    inputs, truth = proof.labelled(dataset, source.target, count)
    cells = f"{len(truth)} labelled val cells"
    calls = check_calls(source.logits(inputs), truth, source.threshold_logit, cells)
    log(f"labels    AUC {calls.auc:.4f} on {len(truth)} val cells, before conversion")
    return calls


def labelled_will_decide(
    source: Source, judging: Dataset | None, effort: Effort, delta: float, log: Log
) -> bool:
    """Whether the gate will take labelled cells for its judges (``parity.judges``).

    Asked of a large network before its golden cells are drawn: then a quarter of them, without
    blends at the threshold, are enough to show that a file gives its outputs again. The gate asks
    once more; should it not agree, so few drawn cells are no evidence, and it refuses.
    """
    if source.contract is None or judging is None or effort.golden >= golden_draw.CELLS:
        return False
    inputs, truth = proof.labelled(judging, source.target, 0)
    logits = source.logits(inputs)
    settings = parity.Settings(delta=delta)
    far = logits.astype(np.float64) - source.threshold_logit
    near = judges.near_threshold(far, truth, settings)
    found = judges.enough_labelled(truth, near, settings)
    word = "decide" if found else "are too few to decide"
    log(f"labels    {int(near.sum())} of {len(truth)} val cells near the threshold: they {word}")
    return found


def check_on_drawn(
    source: Source, cells: golden.GoldenCells, labelled: Calls | None, log: Log
) -> None:
    """Drawn cells of known truth, where labelled ones are missing or leave it open.

    Args:
        source: the model of somebody else.
        cells: the bundle's golden cells.
        labelled: what labelled cells said; None where there were none.
        log: told that drawn cells decide.
    """
    if labelled is not None:
        log(f"labels    {labelled.cells} leave open whether it works: drawn cells are asked")
    # The second half are blends, whose truth is what the network itself says.
    plain = slice(0, len(cells.inputs) - len(cells.inputs) // 2)
    inputs, truth = cells.inputs[plain], cells.truth[plain] == 1
    try:
        check_calls(
            source.logits(inputs), truth, source.threshold_logit, f"{len(truth)} drawn cells"
        )
    except GateFailed as error:
        raise GateFailed(f"{error} {_what_settles_it(labelled)}") from error


def _what_settles_it(labelled: Calls | None) -> str:
    if labelled is None:
        return (
            "If it is right and drawn cells are not what it was made for, labelled cells decide "
            f"instead: a val split with {ENOUGH} of each class settles it (--data DATASET)."
        )
    return (
        f"The labelled cells leave it open ({labelled.rates}). If it is right and drawn cells are "
        f"not what it was made for, about {labelled.needed} val cells of each class settle it, "
        "called as these are."
    )
