"""The table of one threshold for every laboratory."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.documents.markdown import evidence, table

_COLUMNS = (
    "network", "westlake, iml, NIH at 1 %", "bound by", "the same at .1 %",
    "AUC westlake, iml, NIH test",
)  # fmt: skip


def laboratories() -> str:
    """Each network's sensitivities where no source has more than 1 % or .1 % called, and AUCs."""
    document = evidence("laboratories") or {"networks": {}}
    rows = []
    for name, figures in document["networks"].items():
        at = [figures[f"at_most_{limit}"] for limit in ("0.01", "0.001")]
        shown = [
            " / ".join(
                f"{v[key]:.2f}" for key in ("westlake", "iml_asexual", "nih_without_suspect")
            )
            for v in at
        ]
        areas = " / ".join(
            f"{figures['auc'][k]:.4f}" for k in ("westlake", "iml_asexual", "nih_test")
        )
        rows.append((name, shown[0], at[0]["bound_by"], shown[1], areas))
    return table(_COLUMNS, rows)


TABLES: dict[str, Callable[[], str]] = {"laboratories": laboratories}
