"""What leaves the device: FHIR that the standard takes, PDF in every language, tables."""

from __future__ import annotations

import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge_malaria.errors import UsageError
from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.slide.line_coding import encoded
from edge_malaria.runtime.slide.lines import ReviewLine
from edge_malaria.runtime.words.language import LANGUAGES, words_for
from tests.runtime.serve.conftest import Served, Serving
from tests.runtime.serve.read_slides import judge

# The libraries of PDF and FHIR are loaded in the tests: the quick ones need neither.
pytestmark = pytest.mark.slow


def resources(data: bytes) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for entry in json.loads(data)["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


def test_fhir_is_preliminary_then_final(serving: Serving) -> None:
    from fhir.resources.R4B.bundle import Bundle as FhirBundle

    served = serving(read=True)
    browser = served.browser()
    slide = served.slide("A-17")
    path = f"/slides/{slide}/report.fhir.json"
    before = browser.get(path)
    assert before.headers["content-type"] == "application/fhir+json"
    FhirBundle.model_validate_json(before.content)
    found = resources(before.content)
    assert found["DiagnosticReport"][0]["status"] == "preliminary"
    judge(served, slide, "Amina")
    served.clinic.desk.sign(slide, "Sam")
    after = browser.get(path)
    FhirBundle.model_validate_json(after.content)
    found = resources(after.content)
    assert found["DiagnosticReport"][0]["status"] == "final"
    assert {one["status"] for one in found["Observation"]} == {"final"}
    assert found["DiagnosticReport"][0]["issued"] == served.clinic.desk.get(slide).signed_at
    agents = json.dumps(found["Provenance"])
    assert "Sam" in agents and "Amina" in agents
    # A signed document is the same document whenever it is asked for.
    assert browser.get(path).content == after.content


def pdf_of(served: Served, slide: str, language: str, **changes: str) -> bytes:
    from edge_malaria.runtime.serve.pdf import pdf_report

    desk = served.clinic.desk
    entry = replace(desk.get(slide), **changes)  # type: ignore[arg-type]
    report = desk.judged(slide)
    with desk.reading(slide) as opened:
        cells = list(opened.session.cells)
        status = {cell.key: opened.session.review.status(cell.key) for cell in cells}
    return pdf_report(words_for(language), entry, report, cells, status)


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "bn"])
def test_a_pdf_says_what_the_page_says(serving: Serving, language: str) -> None:
    pypdf = pytest.importorskip("pypdf", reason="reads PDF; not on this machine")
    served = serving(read=True)
    slide = served.slide("A-18 \u0141\u00f3d\u017a")
    data = pdf_of(served, slide, language)
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    text = " ".join(page.extract_text() for page in pages)
    said = words_for(language).say
    assert "A-18 \u0141\u00f3d\u017a" in text
    flat = re.sub(r"\s+", " ", text)
    for message in ("Indeterminate", "Preliminary: not signed.", "Parasitemia", "Site profile"):
        assert said(message) in flat
    for page in pages:
        assert said("For research use only. Not for use in diagnostic procedures.") in re.sub(
            r"\s+", " ", page.extract_text()
        )
    assert sum(len(page.images) for page in pages) == min(24, served.clinic.desk.get(slide).flagged)
    assert pdf_of(served, slide, language) == data


def test_a_pdf_in_bengali(serving: Serving) -> None:
    from edge_malaria.runtime.serve.pdf_fonts import FOLDERS

    names = ("NotoSansBengali-Regular.ttf", "Lohit-Bengali.ttf", "FreeSans.ttf")
    if not any(found for folder in FOLDERS for name in names for found in folder.rglob(name)):
        pytest.skip("no Bengali font: apt install fonts-noto-core")
    served = serving(read=True)
    slide = served.slide()
    data = pdf_of(served, slide, "bn")
    assert data.startswith(b"%PDF-")
    assert len(data) > 20_000


def test_a_letter_without_a_shape_is_refused_not_left_out(serving: Serving, tmp_path: Path) -> None:
    from fpdf import FPDF

    from edge_malaria.runtime.serve.pdf_fonts import BENGALI, MAIN, add_fonts, close_fonts

    served = serving(read=True)
    slide = served.slide()
    with pytest.raises(Refused, match="no font for these letters: \u4eba"):
        pdf_of(served, slide, "en", sample="A-\u4eba")
    answer = served.browser().post("/language", language="bn")
    assert answer.status_code == 303
    with pytest.raises(Refused, match="fonts-noto-core"):
        add_fonts(FPDF(), "\u09ac", folders=[tmp_path])
    with pytest.raises(Refused, match="no font"):
        add_fonts(FPDF(), "\u0141", folders=[tmp_path])
    assert add_fonts(FPDF(), "Caf\u00e9", folders=[tmp_path]) == "helvetica"
    made = FPDF()
    if add_fonts(made, "plain") == MAIN:
        assert BENGALI not in made.fonts
    close_fonts(made)


def test_the_tables(serving: Serving) -> None:
    served = serving(read=True)
    browser = served.browser()
    slide = served.slide("=cmd|' /C calc'!A0")
    where = f"/slides/{slide}"
    cells = browser.get(f"{where}/cells.csv")
    assert cells.text.startswith("field,index,x0,y0,x1,y1,kind,p_parasitized,counted,reason")
    review = browser.get(f"{where}/review.csv").text.splitlines()
    assert len(review) == served.clinic.desk.get(slide).flagged + 1
    rows = browser.get("/slides.csv").text.splitlines()
    assert rows[0].startswith("slide,sample,reader,created,state,verdict")
    # No spreadsheet takes a sample's code for a formula.
    assert rows[1].split(",")[1].startswith("'=cmd")
    today = served.clinic.desk.get(slide).created[:10]
    assert len(browser.get(f"/slides.csv?day={today}").text.splitlines()) == 2
    assert len(browser.get("/slides.csv?day=1999-01-01").text.splitlines()) == 1
    browser.get("/slides.csv?day=..", code=409)
    assert json.loads(browser.get(f"{where}/report.json").content)["schema_version"] == 2
    assert browser.get(f"{where}/report.html").text.startswith("<!doctype html>")


def test_a_day_as_one_archive(serving: Serving) -> None:
    served = serving(read=True)
    browser, desk = served.browser(), served.clinic.desk
    slide, new = served.slide("Z-1"), desk.make("Z-2", "Amina").id
    day = desk.get(slide).created[:10]
    desk._put(replace(desk.get(new), created=desk.get(slide).created))
    archive = zipfile.ZipFile(io.BytesIO(browser.get(f"/slides.zip?day={day}").content))
    assert archive.testzip() is None
    names = {f"{slide}.fhir.json", f"{slide}.review.csv", "slides.csv", "left-out.txt"}
    assert set(archive.namelist()) == names
    assert new in archive.read("left-out.txt").decode()
    assert len(archive.read("slides.csv").decode().splitlines()) == 3
    report = json.loads(archive.read(f"{slide}.fhir.json"))
    assert "preliminary" in json.dumps(report)
    judge(served, slide, "Amina")
    desk.sign(slide, "Sam")
    # What was signed is handed out as it was signed; a damaged one is named, not left out silently.
    again = zipfile.ZipFile(io.BytesIO(browser.get(f"/slides.zip?day={day}").content))
    assert json.loads(again.read(f"{slide}.fhir.json")) == desk.signed(slide)[1]
    (desk.directory(slide) / "signed.json").write_bytes(b"{}")
    again = zipfile.ZipFile(io.BytesIO(browser.get(f"/slides.zip?day={day}").content))
    assert set(again.namelist()) == {"slides.csv", "left-out.txt"}
    assert "SHA-256" in again.read("left-out.txt").decode()
    browser.get("/slides.zip", code=409)
    browser.get("/slides.zip?day=today", code=409)


def test_a_download_s_name_cannot_break_out(serving: Serving) -> None:
    served = serving(read=True)
    slide = served.slide('a"; filename="b.exe/..\\\u09ac')
    answer = served.browser().get(f"/slides/{slide}/cells.csv")
    assert re.fullmatch(
        r"attachment; filename=\"[A-Za-z0-9._-]+\"; filename\*=UTF-8''[A-Za-z0-9._~%-]+",
        answer.headers["content-disposition"],
    )


def test_nothing_is_handed_out_before_anything_was_read(serving: Serving) -> None:
    served = serving()
    slide = served.clinic.desk.make("N-1", "Amina").id
    browser = served.browser()
    for name in ("report.pdf", "report.fhir.json", "cells.csv", "report.html", "review.csv"):
        browser.get(f"/slides/{slide}/{name}", code=409)


def test_what_was_signed_stays_as_it_was(serving: Serving) -> None:
    """A decision by the command line, a lost file, a changed byte: never another final report."""
    served = serving(read=True)
    browser, desk = served.browser(), served.clinic.desk
    slide = served.slide()
    judge(served, slide, "Amina")
    desk.sign(slide, "Sam")
    where = f"/slides/{slide}"
    fhir, report = browser.get(f"{where}/report.fhir.json").content, desk.judged(slide)
    assert report.verdict == "parasites-detected"
    with desk.reading(slide) as opened:
        cells = list(opened.session.cells)
        with pytest.raises(UsageError, match="signed by Sam"):
            opened.session.decide(cells[0].field, cells[0].index, "no-parasite", "Amina")
        # As `edge-malaria review` did before it knew of signatures.
        with (desk.directory(slide) / "journal.jsonl").open("ab") as journal:
            for cell in cells:
                at = "2026-03-01T10:00:00+00:00"
                line = ReviewLine(cell.field, cell.index, "no-parasite", "Amina", at)
                journal.write(encoded(line))
                opened.session.review.add(line)
    assert browser.get(f"{where}/report.fhir.json").content == fhir
    assert desk.judged(slide) == report
    for name in ("report.pdf", "report.json", "report.html", "cells.csv"):
        browser.get(f"{where}/{name}", code=409)
    path = desk.directory(slide) / "signed.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"parasites-detected", b"indeterminate", 1))
    for name in ("", "/report.fhir.json", "/report.pdf"):
        assert "is not what was signed" in browser.get(where + name, code=500).text
    path.unlink()
    assert "which was signed" in browser.get(f"{where}/report.fhir.json", code=500).text
    path.write_bytes(data)
    assert browser.get(f"{where}/report.fhir.json").content == fhir
