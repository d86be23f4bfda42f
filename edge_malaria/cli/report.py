"""``edge-malaria report DIR``"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.options import JsonOption
from edge_malaria.cli.output import log, print_json


def register(app: typer.Typer) -> None:
    """Adds ``report``."""
    app.command("report")(report)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A report directory.")],
    fhir: Annotated[
        Path | None, typer.Option(help="Also write the report as a FHIR R4 Bundle here.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(help="The laboratory's code of the sample; needed for --fhir.")
    ] = None,
    signed_by: Annotated[
        str, typer.Option(help="Who signs: the FHIR report is then final, else preliminary.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier FHIR file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a slide's report anew from its journal; also as FHIR for a laboratory system.

    For research use only. Not for use in diagnostic procedures.
    """
    from edge_malaria.errors import OutputExists, UsageError
    from edge_malaria.files import write_json
    from edge_malaria.runtime.report.fhir import Sample, fhir_bundle
    from edge_malaria.runtime.report.write import report_again
    from edge_malaria.runtime.slide.journal import Journal

    if fhir is not None and not (sample or "").strip():
        raise UsageError("--fhir needs the sample's code: --sample CODE.")
    if fhir is not None and fhir.exists() and not force:
        raise OutputExists(f"{fhir} exists. Choose another name or add --force.")
    journal = Journal(directory, resume=True)
    try:
        written = report_again(directory, journal)
        started = journal.header.started
    finally:
        journal.close()
    log(f"wrote {directory / 'report.html'}")
    if fhir is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        whose = Sample((sample or "").strip(), started or now, now, signed_by.strip())
        write_json(fhir, fhir_bundle(written, whose))
        log(f"wrote {fhir}")
    if as_json:
        print_json(written.as_json())
