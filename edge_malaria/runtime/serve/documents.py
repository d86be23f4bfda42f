"""Signing, and what leaves the device: FHIR, PDF, tables, the report's page, a day's list."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

from starlette.responses import Response

from edge_malaria.errors import EdgeMalariaError
from edge_malaria.files import csv_text
from edge_malaria.records import SlideReport
from edge_malaria.runtime.report.basis import kept_basis
from edge_malaria.runtime.report.fhir import Sample, fhir_bundle
from edge_malaria.runtime.report.page import Content
from edge_malaria.runtime.report.page import page as report_page
from edge_malaria.runtime.report.write import totals_of
from edge_malaria.runtime.review.table import table_of
from edge_malaria.runtime.serve.refused import NotHere, Refused
from edge_malaria.runtime.serve.visit import Visit
from edge_malaria.runtime.store.slides import SlideEntry

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_COLUMNS = (
    "slide", "sample", "reader", "created", "state", "verdict", "basis", "cells_counted", "flagged",
    "reviewed", "signed_by", "signed_at",
)  # fmt: skip


def sign(visit: Visit) -> Response:
    """Signs a slide; whoever signed in gives the password once more."""
    clinic = visit.clinic
    if visit.form.get("agree") != "yes":
        raise Refused("Say that you looked at the result: tick the box.")
    who = visit.reader
    if clinic.with_users:
        key = f"name {who}"
        if clinic.throttle.wait_s(key) > 0:
            raise Refused("Too many wrong passwords. Wait some minutes.")
        if clinic.users.verify(who, visit.form.get("password", "")) is None:
            clinic.throttle.failed(key)
            raise Refused("The password is wrong. Nothing was signed.")
    who = who or visit.form.get("reader", "").strip()
    if not who:
        raise Refused("Say who reads: a name of up to 80 characters.")
    clinic.desk.sign(visit.slide, who)
    clinic.pushing.wake()
    visit.note("signed", visit.slide, who)
    return visit.to(f"/slides/{visit.slide}")


def _report(visit: Visit) -> tuple[SlideEntry, SlideReport]:
    entry = visit.clinic.desk.get(visit.slide)
    if entry.state == "new":
        raise Refused("Nothing was read of this slide yet.")
    report = visit.clinic.desk.judged(visit.slide)
    return visit.clinic.desk.get(visit.slide), report


def _unchanged(visit: Visit) -> tuple[SlideEntry, SlideReport]:
    """The same, where the journal still says what was signed.

    Raises:
        Refused: somebody decided on a cell after the signature, by another program.
    """
    entry, report = _report(visit)
    if entry.state == "signed":
        with visit.clinic.desk.reading(visit.slide) as opened:
            now = opened.session.review.count().as_json()
        if now != dict(report.review):
            raise Refused(
                "Decisions on this slide came after it was signed. The FHIR document stands."
            )
    return entry, report


def _download(visit: Visit, entry: SlideEntry, suffix: str, kind: str, data: bytes) -> Response:
    visit.note("downloaded", entry.id, suffix)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", entry.sample).strip("-.") or "slide"
    exact = quote(f"{entry.sample}-{entry.id}.{suffix}".replace("/", "-"), safe="")
    names = f"attachment; filename=\"{plain}-{entry.id}.{suffix}\"; filename*=UTF-8''{exact}"
    return Response(data, media_type=kind, headers={"Content-Disposition": names})


def fhir(visit: Visit) -> Response:
    """The FHIR R4 Bundle: preliminary until the slide is signed, then final."""
    entry, report = _report(visit)
    text = _fhir_text(visit, entry.id, report)
    return _download(visit, entry, "fhir.json", "application/fhir+json", text.encode())


def _fhir_text(visit: Visit, slide: str, report: SlideReport) -> str:
    """The FHIR document as it was signed, or a preliminary one as of now."""
    entry = visit.clinic.desk.get(slide)
    if entry.state == "signed":
        document = visit.clinic.desk.signed(slide)[1]
    else:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        document = fhir_bundle(report, Sample(entry.sample, entry.created, now))
    return json.dumps(document, indent=1, ensure_ascii=False)


def pdf(visit: Visit) -> Response:
    """The report as PDF in the visitor's language."""
    # The writer takes 24 MB: only once somebody asks for a PDF.
    from edge_malaria.runtime.serve.pdf import pdf_report

    entry, report = _unchanged(visit)
    with visit.clinic.desk.reading(visit.slide) as opened:
        cells = list(opened.session.cells)
        status = {cell.key: opened.session.review.status(cell.key) for cell in cells}
    data = pdf_report(visit.words, entry, report, cells, status)
    return _download(visit, entry, "pdf", "application/pdf", data)


def decisions(visit: Visit) -> Response:
    """The flagged cells and what readers said of them, as CSV."""
    entry, _ = _report(visit)
    with visit.clinic.desk.reading(visit.slide) as opened:
        text = table_of(opened.session)
    return _download(visit, entry, "review.csv", "text/csv; charset=utf-8", text.encode())


def cells(visit: Visit) -> Response:
    """Every cell found, as CSV."""
    return _file(visit, "cells.csv", "text/csv; charset=utf-8")


def record(visit: Visit) -> Response:
    """The report's own JSON."""
    return _file(visit, "report.json", "application/json")


def page(visit: Visit) -> Response:
    """The page that ``screen`` writes, in the visitor's language, to keep."""
    entry, report = _unchanged(visit)
    with visit.clinic.desk.reading(visit.slide) as opened:
        journal = opened.session.journal
        content = Content(
            visit.words,
            visit.clinic.desk.directory(entry.id),
            journal,
            totals_of(journal, kept_basis(journal)),
            report,
            opened.session.review,
            commands=False,
        )
        text = report_page(content)
    return _download(visit, entry, "report.html", "text/html; charset=utf-8", text.encode())


def _file(visit: Visit, name: str, kind: str) -> Response:
    entry, _ = _unchanged(visit)
    path: Path = visit.clinic.desk.directory(entry.id) / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotHere("This file is not there. Load the slide's page again.") from error
    return _download(visit, entry, name, kind, data)


def day(visit: Visit) -> Response:
    """The slides of one day (UTC), or of all, as CSV."""
    wanted = _wanted_day(visit)
    entries = [one for one in visit.clinic.desk.entries() if one.created.startswith(wanted)]
    return _attached(visit, wanted, "csv", "text/csv; charset=utf-8", _table(entries).encode())


def day_archive(visit: Visit) -> Response:
    """The results of one day as a zip: the table, and of each read slide FHIR and decisions.

    A slide that is being read, or of which nothing was read, stands in the table alone; so does
    one whose files cannot be read, and ``left-out.txt`` says why.
    """
    wanted = _wanted_day(visit)
    if not wanted:
        raise Refused("A day looks like 2026-11-27.")
    desk = visit.clinic.desk
    entries = [one for one in desk.entries() if one.created.startswith(wanted)]
    out, left_out = io.BytesIO(), []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            if entry.state == "new" or desk.running_of(entry.id) is not None:
                left_out.append(f"{entry.id}: not read, or being read\n")
                continue
            try:
                report = desk.judged(entry.id)
                archive.writestr(f"{entry.id}.fhir.json", _fhir_text(visit, entry.id, report))
                with desk.reading(entry.id) as opened:
                    archive.writestr(f"{entry.id}.review.csv", table_of(opened.session))
            except EdgeMalariaError as error:
                left_out.append(f"{entry.id}: {error}\n")
        entries = [desk.get(entry.id) for entry in entries]
        archive.writestr("slides.csv", _table(entries))
        if left_out:
            archive.writestr("left-out.txt", "".join(left_out))
    return _attached(visit, wanted, "zip", "application/zip", out.getvalue())


def _wanted_day(visit: Visit) -> str:
    wanted = visit.asked("day")
    if wanted and not _is_day(wanted):
        raise Refused("A day looks like 2026-11-27.")
    return wanted


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _table(entries: Iterable[SlideEntry]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(_COLUMNS)
    for entry in entries:
        table.writerow([entry.id, *(csv_text(str(getattr(entry, name))) for name in _COLUMNS[1:])])
    return out.getvalue()


def _attached(visit: Visit, wanted: str, suffix: str, kind: str, data: bytes) -> Response:
    visit.note("downloaded", detail=f"slides {wanted or 'all'} {suffix}")
    names = f'attachment; filename="slides-{wanted or "all"}.{suffix}"'
    return Response(data, media_type=kind, headers={"Content-Disposition": names})
