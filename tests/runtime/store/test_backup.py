"""A device's backup: whole, checked, restored to the same, whatever kills it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge_malaria import leftovers
from edge_malaria.errors import DataError, OutputExists, StorageError
from edge_malaria.runtime.store.backup import INDEX, restore_backup, write_backup
from edge_malaria.runtime.store.database import (
    open_database,
)
from edge_malaria.runtime.store.slides import SLIDES, SlideEntry, Worklist
from tests.cli import run_cli, run_process
from tests.runtime.store.slides import with_slide


def test_a_backup_is_whole_and_restores_to_the_same(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "b" / "backup.zip"
    entry = with_slide(data)
    opened = open_database(data)
    Worklist(opened, data).put(entry)
    made = write_backup(data, target)
    assert made.slides == 1
    with pytest.raises(OutputExists):
        write_backup(data, target)
    opened.close()
    assert restore_backup(target, tmp_path / "new") == made
    again = open_database(tmp_path / "new")
    assert list(Worklist(again, tmp_path / "new").all()) == [entry]
    again.close()
    journal = f"{SLIDES}/s1/journal.jsonl"
    assert (tmp_path / "new" / journal).read_bytes() == (data / journal).read_bytes()
    with pytest.raises(OutputExists):
        restore_backup(target, tmp_path / "new")
    assert [p.name for p in target.parent.iterdir()] == ["backup.zip"], "nothing is left beside it"


def test_a_restored_device_has_what_was_not_begun_yet(tmp_path: Path) -> None:
    data, target, new = tmp_path / "data", tmp_path / "backup.zip", tmp_path / "new"
    read = with_slide(data)
    registered = SlideEntry("s9", "B-9", "ann", "home.json", source="upload")
    signed = SlideEntry("s5", "B-5", state="signed")
    opened = open_database(data)
    for entry in (read, registered, signed):
        Worklist(opened, data).put(entry)
    opened.close()
    with_slide(data, "s5", "B-5")
    for name in ("upload/s9/photo-00001", "upload/s5/photo-00001", "sites/home.json", "tls/key"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(name.encode())
    assert run_process("backup", data, "-o", target).code == 0
    done = run_process("restore", target, "-o", new)
    assert done.code == 0, done.err
    again = open_database(new)
    assert {entry.id: entry for entry in Worklist(again, new).all()}["s9"] == registered
    again.close()
    assert (new / "upload/s9/photo-00001").read_bytes() == b"upload/s9/photo-00001"
    assert (new / "sites/home.json").is_file()
    # The pictures of a signed slide may be deleted; a private key stays on its device.
    assert not (new / "upload/s5").exists() and not (new / "tls").exists()


def test_a_damaged_or_foreign_backup_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "backup.zip"
    with_slide(data)
    open_database(data).close()
    write_backup(data, target)

    def rewritten(change: dict[str, bytes | None]) -> Path:
        path = tmp_path / "other.zip"
        with zipfile.ZipFile(target) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                value = change.get(name, old.read(name))
                if value is not None:
                    new.writestr(name, value)
            for name in set(change) - set(old.namelist()):
                new.writestr(name, change[name] or b"")
        return path

    with zipfile.ZipFile(target) as archive:
        index = json.loads(archive.read(INDEX))
    evil = {**index, "files": {**index["files"], "../../evil": "0"}}
    journal = f"{SLIDES}/s1/journal.jsonl"
    cases: dict[str, dict[str, bytes | None]] = {
        "is damaged": {journal: b"changed"},
        "is missing": {journal: None},
        "no backup": {INDEX: None},
        "that this edge-malaria can read": {INDEX: json.dumps(evil).encode()},
        "far too large": {INDEX: b" " * (64 << 20) + json.dumps(index).encode()},
        "no backup of": {INDEX: b"[" * 100_000},
    }
    for words, change in cases.items():
        with pytest.raises(DataError, match=words):
            restore_backup(rewritten(change), tmp_path / "new")
        assert not (tmp_path / "new").exists()
    target.write_bytes(target.read_bytes()[:-40])
    with pytest.raises(DataError, match="no whole zip"):
        restore_backup(target, tmp_path / "new")


def test_a_backup_that_unpacks_to_more_than_the_disk_holds_is_not_unpacked(tmp_path: Path) -> None:
    """Every entry promises 4 GB, as a zip bomb of a few kilobytes does."""
    promised = 0xFFFFFFF0
    data, target = tmp_path / "data", tmp_path / "backup.zip"
    open_database(data).close()
    slide = data / SLIDES / "s1"
    slide.mkdir(parents=True)
    for number in range(shutil.disk_usage(tmp_path).free // promised + 1):
        (slide / f"{number}.png").write_bytes(b"x")
    write_backup(data, target)
    whole = bytearray(target.read_bytes())
    place = whole.index(b"PK\x01\x02")  # of the zip's directory, whose entries hold the sizes
    while place >= 0:
        if whole[place + 46 :][: len(INDEX)] != INDEX.encode():
            whole[place + 24 : place + 28] = promised.to_bytes(4, "little")
        place = whole.find(b"PK\x01\x02", place + 4)
    target.write_bytes(whole)
    with pytest.raises(StorageError, match="unpacks to"):
        restore_backup(target, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_a_killed_backup_left_is_swept_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_YOUNG_S", 0.0)
    data, target = tmp_path / "data", tmp_path / "b" / "backup.zip"
    with_slide(data)
    open_database(data).close()
    killed_at_the_first_file("write_backup", data, target)
    assert len(list(target.parent.iterdir())) == 2, "half a zip, and the database's copy"
    write_backup(data, target)
    assert [path.name for path in target.parent.iterdir()] == ["backup.zip"]


def killed_at_the_first_file(function: str, source: Path, target: Path) -> None:
    """Runs a function of the backup in a process that dies after one file."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from edge_malaria.runtime.store import backup\n"
        "step = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"backup.{function}(Path(sys.argv[1]), Path(sys.argv[2]), step)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, source, target], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL


def test_half_a_restored_backup_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    data, target, new = tmp_path / "data", tmp_path / "backup.zip", tmp_path / "new"
    with_slide(data)
    open_database(data).close()
    write_backup(data, target)
    killed_at_the_first_file("restore_backup", target, new)
    with pytest.raises(DataError, match="Remove the folder and restore again"):
        open_database(new)
    shutil.rmtree(new)
    restore_backup(target, new)
    open_database(new).close()


def test_the_commands(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "backup.zip"
    assert run_cli("backup", data, "-o", target).code == 5, "no data folder"
    with_slide(data)
    open_database(data).close()
    made = run_process("backup", data, "-o", target)
    assert made.code == 0 and "1 slides" in made.err
    done = run_process("restore", target, "-o", tmp_path / "new")
    assert done.code == 0, done.err
    opened = open_database(tmp_path / "new")
    assert [entry.sample for entry in Worklist(opened, tmp_path / "new").all()] == ["A-17"]
    opened.close()
