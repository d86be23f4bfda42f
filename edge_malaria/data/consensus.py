"""Several readers' labels of the same cells: what all agree on, what not, and how well they agree.

A reader's file is a CSV with the columns ``file`` and ``class`` (Parasitized or Uninfected). A cell
has a consensus label only where every reader named it and all said the same; the rest is listed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edge_malaria.data.labels import CANONICAL
from edge_malaria.data.tables import Patients, read_table
from edge_malaria.errors import DatasetError, UsageError
from edge_malaria.files import write_text
from edge_malaria.metrics import cohen_kappa, fleiss_kappa

WORDS = {1: "Parasitized", 0: "Uninfected"}
LABELS = {**CANONICAL, "1": 1, "0": 0}


@dataclass(frozen=True, eq=False)
class Reading:
    """One reader's labels.

    Attributes:
        name: of the reader: the file's stem.
        labels: cell's file name -> 1 parasitized, 0 uninfected.
        records: cell's file name -> the whole line of the CSV.
        columns: of the CSV, in order.
    """

    name: str
    labels: Mapping[str, int]
    records: Mapping[str, Mapping[str, str]]
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Consensus:
    """What readers agree on.

    Attributes:
        readings: of at least two readers.
        agreed: file name -> label that all gave; sorted by name.
        disputed: named by all, not alike; sorted.
        incomplete: not named by every reader; sorted.
    """

    readings: tuple[Reading, ...]
    agreed: Mapping[str, int]
    disputed: tuple[str, ...]
    incomplete: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Counts, Cohen's kappa of each pair and Fleiss' kappa of all (null where undefined)."""
        shared = sorted({*self.agreed, *self.disputed})
        table = [[reading.labels[name] for reading in self.readings] for name in shared]
        return {
            "readers": [
                {"name": reading.name, "cells": len(reading.labels)} for reading in self.readings
            ],
            "cells": len(shared) + len(self.incomplete),
            "read_by_all": len(shared),
            "agreed": len(self.agreed),
            "agreed_parasitized": sum(self.agreed.values()),
            "disputed": len(self.disputed),
            "incomplete": len(self.incomplete),
            "cohen_kappa": [_pair(a, b) for a, b in combinations(self.readings, 2)],
            "fleiss_kappa": fleiss_kappa(np.array(table)) if table else None,
        }


def _pair(first: Reading, second: Reading) -> dict[str, Any]:
    shared = sorted(set(first.labels) & set(second.labels))
    calls = [[reading.labels[name] for name in shared] for reading in (first, second)]
    alike = sum(a == b for a, b in zip(*calls, strict=True))
    return {
        "readers": [first.name, second.name],
        "n": len(shared),
        "agreement": alike / len(shared) if shared else None,
        "kappa": cohen_kappa(*calls),
    }


def read_labels(path: Path) -> Reading:
    """One reader's CSV.

    Raises:
        DatasetError: unreadable, a column missing, an unknown class, or a cell named twice.
    """
    table = read_table(path, ("file", "class"))
    labels: dict[str, int] = {}
    records: dict[str, dict[str, str]] = {}
    for record, line in zip(table.records, table.lines, strict=True):
        name = PurePosixPath(record["file"].replace("\\", "/")).name
        label = LABELS.get(record["class"].lower())
        if label is None:
            raise DatasetError(
                f"{path}, {name or f'line {line}'}: expected class Parasitized or Uninfected, got "
                f"{record['class']!r}."
            )
        if name in labels:
            raise DatasetError(f"{path} names {name} twice: a reader has one label a cell.")
        labels[name], records[name] = label, record
    if not labels:
        raise DatasetError(f"{path} names no cells.")
    return Reading(path.stem, labels, records, table.keys)


def merge(readings: Sequence[Reading]) -> Consensus:
    """All must agree.

    Raises:
        UsageError: fewer than two readers, or two of one name.
    """
    names = [reading.name for reading in readings]
    if len(readings) < 2:
        raise UsageError(f"expected labels of at least two readers, got {len(readings)}.")
    if len(set(names)) < len(names):
        raise UsageError(f"two readers have one name: {', '.join(names)}. Rename a file.")
    every = sorted(set().union(*(reading.labels for reading in readings)))
    said = {name: [r.labels[name] for r in readings if name in r.labels] for name in every}
    whole = [name for name in every if len(said[name]) == len(readings)]
    return Consensus(
        tuple(readings),
        {name: said[name][0] for name in whole if len(set(said[name])) == 1},
        tuple(name for name in whole if len(set(said[name])) > 1),
        tuple(name for name in every if len(said[name]) < len(readings)),
    )


def write_consensus(path: Path, consensus: Consensus) -> None:
    """The agreed cells with the first reader's columns, ``class`` being the consensus."""
    first = consensus.readings[0]
    rows = [
        {**first.records[name], "class": WORDS[label]} for name, label in consensus.agreed.items()
    ]
    write_text(path, _table(first.columns, rows))


def write_disagreements(path: Path, consensus: Consensus) -> None:
    """Every cell without a consensus: why, and what each reader said (empty: not named)."""
    names = [reading.name for reading in consensus.readings]
    rows = [
        {
            "file": name,
            "reason": reason,
            **{r.name: WORDS.get(r.labels.get(name, -1), "") for r in consensus.readings},
        }
        for reason, listed in (
            ("disputed", consensus.disputed),
            ("incomplete", consensus.incomplete),
        )
        for name in listed
    ]
    write_text(path, _table(("file", "reason", *names), rows))


def mark_suspects(patients: Path, out: Path, consensus: Consensus) -> int:
    """Writes ``patients`` (a patients.csv) again with suspect labels marked; returns how many.

    Doubtful (``suspect_label`` 1) is what was so before, what readers disputed, and what they
    agreed to be of the other class. Cells that not every reader named stay as they were.

    Raises:
        DatasetError: unreadable or without the columns.
    """
    given = read_labels(patients)
    columns = given.columns
    spelled = Patients()
    if "suspect_label" not in columns:
        columns = (*columns, "suspect_label")
    marked = 0
    rows = []
    for name, record in given.records.items():
        contradicted = consensus.agreed.get(name, given.labels[name]) != given.labels[name]
        suspect = (record.get("suspect_label") or "0") == "1"
        suspect = suspect or contradicted or name in consensus.disputed
        marked += suspect
        if "patient_id" in record:
            record = {**record, "patient_id": spelled(record["patient_id"], f"{patients}, {name}")}
        rows.append({**record, "suspect_label": str(int(suspect))})
    write_text(out, _table(columns, rows))
    return marked


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
