"""``edge-malaria data consensus READER1.csv READER2.csv ... -o OUT.csv``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_malaria.cli.options import JsonOption, new_output


def consensus(
    readers: Annotated[
        list[Path],
        typer.Argument(metavar="READER.csv...", help="Each reader's labels: columns file, class."),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", metavar="CSV", help="The agreed labels.")],
    patients: Annotated[
        Path | None,
        typer.Option(
            help="A patients.csv to write again as OUT.patients.csv with suspect labels marked."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge several readers' labels: all must agree. What they dispute goes to a second CSV."""
    from edge_malaria.cli.output import log, print_json
    from edge_malaria.data import consensus as labels

    others = out.with_suffix(".disagreements.csv")
    marked = out.with_suffix(".patients.csv")
    written = [out, others] + ([marked] if patients else [])
    for path in written:
        new_output(path, force)
    merged = labels.merge([labels.read_labels(path) for path in readers])
    labels.write_consensus(out, merged)
    labels.write_disagreements(others, merged)
    document: dict[str, Any] = {**merged.as_json(), "files": [str(path) for path in written]}
    if patients:
        document["suspect_labels"] = labels.mark_suspects(patients, marked, merged)
    if as_json:
        print_json(document)
    else:
        _show(document)
    log(f"wrote {', '.join(document['files'])}")


def _show(document: dict[str, Any]) -> None:
    from edge_malaria.cli.output import print_table

    rows = [
        (
            " and ".join(pair["readers"]),
            pair["n"],
            _number(pair["agreement"]),
            _number(pair["kappa"]),
        )
        for pair in document["cohen_kappa"]
    ]
    everyone = document["agreed"] / max(1, document["read_by_all"])
    rows.append(
        ("all", document["read_by_all"], _number(everyone), _number(document["fleiss_kappa"]))
    )
    print_table(
        f"{document['agreed']} of {document['cells']} cells agreed, "
        f"{document['disputed']} disputed, {document['incomplete']} not named by all",
        ("readers", "cells", "agreement", "kappa (Cohen; all: Fleiss)"),
        rows,
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
