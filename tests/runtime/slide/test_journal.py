"""The journal: real files, damaged in the ways of power cuts, cards and people."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_malaria.errors import EdgeMalariaError, UsageError
from edge_malaria.runtime.slide.field_line import CellRow, FieldLine, GalleryCell
from edge_malaria.runtime.slide.journal import NAME, TORN_NAME, Journal
from edge_malaria.runtime.slide.line_coding import decoded, encoded
from edge_malaria.runtime.slide.lines import HeaderLine, Line, ReviewLine, SlideLine
from edge_malaria.runtime.slide.registration import Placement

HEADER = HeaderLine(("slide",), "b" * 64, {"quality": {"gate": True}}, "2026-01-02T03:04:05+00:00")
CELLS = (
    CellRow((1, 2, 30, 40), "red-cell", 0.75, True),
    CellRow((5, 60, 30, 90), "white-cell", None, False, "white-cell"),
)
FIELD = FieldLine(
    "a.jpg", 0, size_px=(100, 100), place=Placement(0, 1.5, -2.0, 100, 100),
    quality={"focus": 5.5}, cells=CELLS, positive=1, likely=1, skipped=3, elapsed_s=1.25,
    gallery=(GalleryCell(0, 0.75, True, "parasitized", "/9j/"),), picture="fields/00001.jpg",
)  # fmt: skip
LINES: list[Line] = [
    FIELD,
    FieldLine("b.jpg", 1, "unreadable", "cut off"),
    SlideLine("stain", {"median": [193, 155, 155]}),
    ReviewLine("a.jpg", 0, "parasite", "Ada", "2026-01-02T03:04:05+00:00"),
    FieldLine("c.jpg", 2, "too-dark", quality={"background": 12.0}),
]


def filled(directory: Path) -> Path:
    """A journal with every kind of line."""
    journal = Journal(directory, HEADER)
    for line in LINES:
        journal.append(line)
    journal.close()
    return directory / NAME


def read(directory: Path) -> tuple[list[Line], list[str]]:
    """The lines and the faults of a journal."""
    journal = Journal(directory, resume=True)
    try:
        return list(journal.lines()), [str(fault) for fault in journal.faults]
    finally:
        journal.close()


def resealed(data: bytes, old: bytes, new: bytes) -> bytes:
    """A line with other contents and a checksum that fits."""
    body = data.removesuffix(b"\n").rpartition(b',"crc32"')[0] + b"}"
    assert old in body
    body = body.replace(old, new)
    return body[:-1] + b',"crc32":"%08x"}\n' % zlib.crc32(body)


@pytest.mark.parametrize("line", [HEADER, *LINES])
def test_each_kind_of_line_is_read_as_it_was_written(line: Line) -> None:
    assert decoded(encoded(line)) == line


def test_a_journal_gives_back_its_lines_by_kind(tmp_path: Path) -> None:
    filled(tmp_path)
    journal = Journal(tmp_path, HEADER, resume=True)
    assert list(journal.lines()) == LINES
    assert [line.field for line in journal.fields()] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [line.reader for line in journal.reviews()] == ["Ada"]
    journal.append(SlideLine("stain", {"median": [1, 2, 3]}))
    assert journal.facts() == {"stain": {"median": [1, 2, 3]}}
    assert journal.header == HEADER
    journal.close()


def test_another_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to resume"):
        Journal(tmp_path / "none", HEADER, resume=True)
    assert not (tmp_path / "none").exists()
    data = filled(tmp_path).read_bytes()
    for other, word in (
        (HeaderLine(("other",), "b" * 64, HEADER.settings), "source"),
        (HeaderLine(("slide",), "c" * 64, HEADER.settings), "bundle"),
        (HeaderLine(("slide",), "b" * 64, {"quality": {"gate": False}}), "quality"),
        (HeaderLine(("slide",), "b" * 64, {}), "quality"),
    ):
        with pytest.raises(UsageError, match=f"another {word}"):
            Journal(tmp_path, other, resume=True)
    assert (tmp_path / NAME).read_bytes() == data


@pytest.mark.parametrize("first", [b'{"journal":1,"source":["a"]}\n', b'{"journal": 1}\n'])
def test_an_older_journal_is_refused_with_words(tmp_path: Path, first: bytes) -> None:
    (tmp_path / NAME).write_bytes(first + b'{"field":"a","index":0,"reason":""}\n')
    with pytest.raises(UsageError, match=r"format 1; this edge-malaria reads format 2"):
        Journal(tmp_path, HEADER, resume=True)
    assert (tmp_path / NAME).read_bytes().startswith(first)


def test_a_newer_journal_is_refused_with_words(tmp_path: Path) -> None:
    path = filled(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    newer = resealed(lines[0], b'"version":2', b'"version":9')
    path.write_bytes(newer + b"".join(lines[1:]))
    with pytest.raises(UsageError, match="format 9"):
        Journal(tmp_path, HEADER, resume=True)


@pytest.mark.parametrize("number", range(2, 7))
def test_a_damaged_line_is_skipped_and_named_and_nothing_is_cut(
    tmp_path: Path, number: int
) -> None:
    path = filled(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = b"\0" * (len(lines[number - 1]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    found, faults = read(tmp_path)
    assert found == [line for n, line in enumerate(LINES, 2) if n != number]
    assert len(faults) == 1
    assert f"line {number} of {NAME} was skipped: it is damaged" in faults[0]
    journal = Journal(tmp_path, HEADER, resume=True)
    journal.append(FieldLine("d.jpg", 3, "too-dark"))
    journal.close()
    assert path.read_bytes().startswith(b"".join(lines))
    assert not (tmp_path / TORN_NAME).exists()


def test_a_damaged_header_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    path = filled(tmp_path)
    data = path.read_bytes()
    damaged = data.replace(b"header", b"hender", 1)
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match="first line"):
        Journal(tmp_path, HEADER, resume=True)
    assert path.read_bytes() == damaged


@given(share=st.floats(0.001, 0.999))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_torn_tail_is_set_aside_when_the_next_line_comes_and_not_before(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    directory = tmp_path_factory.mktemp("torn")
    path = filled(directory)
    whole = path.read_bytes()
    extra = encoded(FieldLine("d.jpg", 3, "too-dark"))
    tail = extra[: max(1, min(len(extra) - 2, int(share * len(extra))))]
    path.write_bytes(whole + tail)
    journal = Journal(directory, HEADER, resume=True)
    assert list(journal.lines()) == LINES
    assert path.read_bytes() == whole + tail
    journal.append(FieldLine("e.jpg", 4, "too-dark"))
    journal.close()
    assert path.read_bytes() == whole + encoded(FieldLine("e.jpg", 4, "too-dark"))
    assert (directory / TORN_NAME).read_bytes() == tail + b"\n"
    assert "torn" in journal.notes[0]
    assert journal.faults == []


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    journal = Journal(tmp_path, HEADER, resume=True)
    assert list(journal.lines()) == LINES
    journal.append(SlideLine("scale", 1.5))
    assert list(journal.lines()) == [*LINES, SlideLine("scale", 1.5)]
    journal.close()
    assert not (tmp_path / TORN_NAME).exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"positive":1', b'"positive":1000000000'),
        (b'"positive":1', b'"positive":-1'),
        (b'"positive":1', b'"positive":true'),
        (b'"likely":1', b'"likely":2'),
        (b'"skipped":3', b'"skipped":-3'),
        (b'"elapsed_s":1.25', b'"elapsed_s":1e999'),
        (b'"index":0', b'"index":0,"colour":"red"'),
        (b'[1,2,30,40', b'[30,2,1,40'),
        (b'[1,2,30,40', b'[1,2,300,40'),
        (b"0.75,true,", b"1.75,true,"),
        (b'"red-cell"', b'"blue-cell"'),
        (b'"place":[0', b'"place":[-1'),
        (b'"place":[0,1.5', b'"place":[0,null'),
        (b'fields/00001', b'../../00001'),
        (b'"kind":"field"', b'"kind":"verdict"'),
        (b'"field":"a.jpg"', b'"field":["a.jpg"]'),
        (b'"cells":[[', b'"cells":[' + b"[" * 5000 + b"]" * 5000 + b",["),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_is_skipped_and_named(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = filled(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = resealed(lines[1], old, new)
    path.write_bytes(b"".join(lines))
    found, faults = read(tmp_path)
    assert found == LINES[1:]
    assert len(faults) == 1
    assert faults[0].startswith(f"line 2 of {NAME}")


def test_a_field_recorded_twice_counts_once(tmp_path: Path) -> None:
    path = filled(tmp_path)
    path.write_bytes(path.read_bytes() + encoded(FIELD))
    found, faults = read(tmp_path)
    assert found == LINES
    assert faults == [f"line 7 of {NAME} was skipped: field a.jpg was recorded before."]


@given(data=st.binary(max_size=300), at=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_no_bytes_end_in_anything_but_lines_faults_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
) -> None:
    directory = tmp_path_factory.getbasetemp() / "fuzzed"
    (directory / NAME).unlink(missing_ok=True)
    path = filled(directory)
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + data + whole[at + len(data) // 2 :])
    try:
        found, _ = read(directory)
    except EdgeMalariaError:
        return
    assert all(line in LINES for line in found)
