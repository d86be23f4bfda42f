"""The journal on full, failing and simple disks, and under kill -9."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_malaria.disk_sync import storage_notes
from edge_malaria.errors import OutputExists, StorageError
from edge_malaria.files import new_directory, write_text
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import Journal
from tests.runtime.slide.test_journal import FIELD, HEADER, LINES, filled, read


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path, HEADER)
    journal.append(FieldLine("a", 0, "too-dark"))
    size = journal.path.stat().st_size
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, old[1]))
    try:
        with pytest.raises(StorageError):
            journal.append(FieldLine("b", 1, "too-dark" * 40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert journal.path.stat().st_size == size
    journal.append(FieldLine("c", 2, "too-dark"))
    assert [line.field for line in journal.fields()] == ["a", "c"]
    journal.close()


def test_two_processes_cannot_write_into_one_directory(tmp_path: Path) -> None:
    filled(tmp_path)
    holding = (
        "import pathlib, sys, time\n"
        "from edge_malaria.runtime.slide.journal import Journal\n"
        "Journal(pathlib.Path(sys.argv[1]), resume=True)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for resume in (True, False):
            with pytest.raises(OutputExists, match="in use"):
                Journal(tmp_path, HEADER, resume=resume)
    finally:
        other.kill()
        other.communicate()
    # The lock died with its process; nothing was lost to the tries.
    assert read(tmp_path) == (LINES, [])


def test_a_stick_without_modes_and_synced_directories_is_written_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system calls answer as FAT and exFAT do."""
    sync = os.fsync

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    def chmod(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "chmod", chmod)
    storage_notes()
    filled(tmp_path / "stick")
    write_text(tmp_path / "stick" / "report.md", "text")
    with new_directory(tmp_path / "bundle") as folder:
        write_text(folder / "a", "b")
    notes = storage_notes()
    assert len(notes) == 1
    assert "a power cut may lose what was written last" in notes[0]
    assert storage_notes() == []
    assert read(tmp_path / "stick") == (LINES, [])


def test_a_failing_disk_is_still_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, HEADER)

    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="Input/output error"):
        journal.append(FIELD)
    monkeypatch.undo()
    journal.close()
    assert read(tmp_path) == ([], [])


def test_kill_9_at_any_moment_loses_no_line_that_was_written(tmp_path: Path) -> None:
    """Writers die; every line that they said was written is there."""
    writing = (
        "import pathlib, sys\n"
        "from edge_malaria.runtime.slide.field_line import FieldLine\n"
        "from edge_malaria.runtime.slide.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]), resume=True)\n"
        "start = journal.line_count\n"
        "for n in range(start, start + 100_000):\n"
        "    journal.append(FieldLine(f'f{n}.jpg', n, 'too-dark' * (n % 50 + 1)))\n"
        "    print(n, flush=True)\n"
    )
    Journal(tmp_path, HEADER).close()
    told: list[str] = []
    for round_ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", writing, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(3 + round_):
                told.append(writer.stdout.readline().strip())
            writer.kill()
            told += writer.stdout.read().split()
    found, faults = read(tmp_path)
    assert faults == []
    names = {line.field for line in found if isinstance(line, FieldLine)}
    assert {f"f{n}.jpg" for n in told} <= names
    assert len(names) >= 20
