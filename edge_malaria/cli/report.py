"""``edge-malaria report DIR``"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from edge_malaria.cli.options import JsonOption, LanguageOption, new_output
from edge_malaria.cli.output import log, print_json

# Of a code or a name on a document; a bar code has some 50.
_MOST_LETTERS = 200


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
    language: LanguageOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier FHIR file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a slide's report anew from its journal; also as FHIR for a laboratory system.

    For research use only. Not for use in diagnostic procedures.
    """
    from edge_malaria.errors import UsageError
    from edge_malaria.files import write_json
    from edge_malaria.runtime.report.fhir import Sample, fhir_bundle
    from edge_malaria.runtime.report.write import report_again
    from edge_malaria.runtime.slide.journal import Journal

    code, signed_by = _words(sample or "", "--sample"), _words(signed_by, "--signed-by")
    if fhir is not None and not code:
        raise UsageError("--fhir needs the sample's code: --sample CODE.")
    new_output(fhir, force)
    journal = Journal(directory, resume=True)
    try:
        written = report_again(directory, journal, language.value if language else "")
        started = journal.header.started
    finally:
        journal.close()
    log(f"wrote {directory / 'report.html'}")
    if fhir is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        whose = Sample(code, started or now, now, signed_by)
        write_json(fhir, fhir_bundle(written, whose))
        log(f"wrote {fhir}")
    if as_json:
        print_json(written.as_json())


def _words(text: str, option: str) -> str:
    """What another system will show; FHIR allows no control characters, and nor does a label."""
    from edge_malaria.errors import UsageError

    clean = text.strip()
    if not (len(clean) <= _MOST_LETTERS and clean.isprintable()):
        raise UsageError(f"{option}: expected up to {_MOST_LETTERS} letters, got {clean[:40]!r}.")
    return clean
