"""Plots of runs as PNG and SVG: learning curves and ROC curves."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edge_malaria.errors import MissingExtra
from edge_malaria.files import write_bytes
from edge_malaria.metrics import auc, roc_curve

BOTH = (".png", ".svg")
# Where the mean of several ROC curves is taken.
GRID = np.linspace(0.0, 1.0, 201)


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib figure that belongs to no window; sides in inches.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "train") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(
    figure: Any, stem: Path, suffixes: Sequence[str] = BOTH, dpi: int = 120
) -> tuple[Path, ...]:
    """Writes ``stem`` with each suffix, whole or not at all; the same bytes on every call.

    Raises:
        StorageError: not writable.
    """
    import matplotlib

    written = []
    for suffix in suffixes:
        buffer = io.BytesIO()
        # matplotlib dates its SVG files and salts their ids unless told otherwise.
        facts: dict[str, Any] = {"metadata": {"Date": None}} if suffix == ".svg" else {}
        with matplotlib.rc_context({"svg.hashsalt": stem.name}):
            figure.savefig(buffer, format=suffix[1:], dpi=dpi, **facts)
        path = stem.with_suffix(suffix)
        write_bytes(path, buffer.getvalue())
        written.append(path)
    return tuple(written)


def plot_learning_curve(history: Sequence[Mapping[str, float]], stem: Path) -> tuple[Path, Path]:
    """Draws loss and validation AUC by epoch; returns the two files written.

    Args:
        history: entries with ``epoch``, ``loss`` and ``val_auc``.
        stem: path without suffix.

    Raises:
        MissingExtra: matplotlib is not installed.
        StorageError: not writable.
    """
    figure = new_figure(7.0, 4.0)
    loss_axis = figure.add_subplot()
    auc_axis = loss_axis.twinx()
    epochs = [entry["epoch"] + 1 for entry in history]
    loss_axis.plot(epochs, [entry["loss"] for entry in history], color="tab:blue", label="loss")
    auc_axis.plot(epochs, [entry["val_auc"] for entry in history], color="tab:red", label="val AUC")
    loss_axis.set_xlabel("epoch")
    loss_axis.set_ylabel("training loss (augmented, smoothed targets)", color="tab:blue")
    auc_axis.set_ylabel("validation AUC", color="tab:red")
    best = max(history, key=lambda entry: entry["val_auc"])
    auc_axis.axvline(best["epoch"] + 1, color="grey", linestyle=":", linewidth=1)
    auc_axis.set_title(f"best epoch {best['epoch'] + 1:.0f}: AUC {best['val_auc']:.4f}")
    png, svg = save_figure(figure, stem)
    return png, svg


def plot_roc(
    answers: Mapping[str, tuple[ArrayLike, ArrayLike]],
    stem: Path,
    *,
    title: str = "",
    mean: bool = False,
    suffixes: Sequence[str] = BOTH,
) -> tuple[Path, ...]:
    """Draws one ROC curve each, in full and enlarged where specificity is above 0.8.

    Args:
        answers: name -> (truth 0/1 [N], scores [N]); one of a single class is left out.
        stem: path without suffix.
        title: above the plot.
        mean: the mean curve over all, too (sensitivity averaged at equal specificity).
        suffixes: of the files.
    """
    figure = new_figure(9.0, 4.4)
    whole, corner = figure.subplots(1, 2)
    drawn = []
    for name, (truth, scores) in answers.items():
        points = roc_curve(truth, scores)
        if points is None:
            continue
        drawn.append(np.interp(GRID, *points))
        for axis in (whole, corner):
            axis.plot(*points, linewidth=1.2, label=f"{name} (AUC {auc(truth, scores):.4f})")
    if mean and len(drawn) > 1:
        for axis in (whole, corner):
            middle = np.concatenate([[0.0], np.mean(drawn, axis=0)[1:]])
            axis.plot(GRID, middle, color="black", linewidth=2, linestyle="--", label="mean")
    whole.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    corner.set_xlim(0.0, 0.2)
    corner.set_ylim(0.8, 1.002)
    for axis in (whole, corner):
        axis.set_xlabel("1 - specificity")
        axis.set_ylabel("sensitivity")
    if drawn:
        whole.legend(fontsize=7, loc="lower right")
    figure.suptitle(title, fontsize=10)
    return save_figure(figure, stem, suffixes)


def plot_fold_curves(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    stem: Path,
    *,
    title: str = "",
    suffixes: Sequence[str] = BOTH,
) -> tuple[Path, ...]:
    """Draws training loss and validation AUC by epoch, one line a fold.

    Args:
        histories: name -> entries with ``epoch``, ``loss`` and ``val_auc``.
        stem: path without suffix.
        title: above the plot.
        suffixes: of the files.
    """
    figure = new_figure(9.0, 4.0)
    loss_axis, auc_axis = figure.subplots(1, 2)
    for name, history in histories.items():
        epochs = [entry["epoch"] + 1 for entry in history]
        loss_axis.plot(epochs, [entry["loss"] for entry in history], marker=".", label=name)
        auc_axis.plot(epochs, [entry["val_auc"] for entry in history], marker=".", label=name)
    for axis, what in ((loss_axis, "training loss"), (auc_axis, "validation AUC")):
        axis.set_xlabel("epoch")
        axis.set_ylabel(what)
    if histories:
        auc_axis.legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    return save_figure(figure, stem, suffixes)
