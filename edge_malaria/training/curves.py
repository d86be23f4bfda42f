"""The learning-curve plot of a run, as PNG and SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_malaria.errors import MissingExtra
from edge_malaria.files import write_bytes


def plot_learning_curve(history: Sequence[Mapping[str, float]], stem: Path) -> tuple[Path, Path]:
    """Draws loss and validation AUC by epoch; returns the two files written.

    Args:
        history: entries with ``epoch``, ``loss`` and ``val_auc``.
        stem: path without suffix.

    Raises:
        MissingExtra: matplotlib is not installed.
        StorageError: not writable.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "train") from error
    figure = Figure(figsize=(7.0, 4.0), layout="constrained")
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
    written = []
    for suffix in (".png", ".svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], dpi=120)
        path = stem.with_suffix(suffix)
        write_bytes(path, buffer.getvalue())
        written.append(path)
    return written[0], written[1]
