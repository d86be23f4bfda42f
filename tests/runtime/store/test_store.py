"""The device's database: durable, whole, rebuilt from the journals, backed up and restored."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria.errors import DataError, StorageError, UsageError
from edge_malaria.runtime.store.database import (
    NAME,
    connect,
    open_database,
    transaction,
    version_of,
)
from edge_malaria.runtime.store.disk import check_keeps, file_system, room
from edge_malaria.runtime.store.migrations import MIGRATIONS
from edge_malaria.runtime.store.slides import SLIDES, SlideEntry, Worklist
from tests.runtime.store.slides import with_slide


def test_pragmas_hold_on_every_connection_and_migrations_are_numbered(tmp_path: Path) -> None:
    opened = open_database(tmp_path)
    assert version_of(opened) == len(MIGRATIONS)
    opened.close()
    again = open_database(tmp_path)
    for connection in (again, connect(tmp_path / NAME)):
        values = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert values == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        connection.close()


def test_a_newer_or_damaged_database_is_refused_with_words(tmp_path: Path) -> None:
    opened = open_database(tmp_path)
    opened.execute("PRAGMA user_version = 99")
    opened.close()
    with pytest.raises(DataError, match="Update edge-malaria"):
        open_database(tmp_path)
    (tmp_path / NAME).write_bytes(b"no database at all" * 400)
    for name in (f"{NAME}-wal", f"{NAME}-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"damaged or no database"):
        open_database(tmp_path)


def test_a_transaction_is_whole_or_not_there(tmp_path: Path) -> None:
    opened = open_database(tmp_path)
    worklist = Worklist(opened, tmp_path)
    with pytest.raises(RuntimeError, match="stop"), transaction(opened):
        worklist.put(SlideEntry("s1", "A"))
        raise RuntimeError("stop")
    assert list(worklist.all()) == []
    with pytest.raises(UsageError, match="no slide"):
        worklist.get("s1")
    opened.close()


def test_the_worklist_is_learned_again_from_the_journals(tmp_path: Path) -> None:
    first, second = with_slide(tmp_path), with_slide(tmp_path, "s2", "B-3")
    (tmp_path / SLIDES / "odd").mkdir()
    (tmp_path / SLIDES / "odd" / "journal.jsonl").write_text("nonsense\n")
    opened = open_database(tmp_path)
    worklist = Worklist(opened, tmp_path)
    worklist.put(SlideEntry("gone", "X", state="finished"))
    unread = SlideEntry("odd", "O", state="paused")
    waiting = SlideEntry("waits", "W")
    worklist.put(unread)
    worklist.put(waiting)
    lost = worklist.rebuild()
    assert [text.partition(":")[0] for text in lost] == ["odd", "gone"]
    # Nothing was read yet of the one that waits: no journal tells of it.
    assert sorted(worklist.all(), key=lambda e: e.id) == [unread, first, second, waiting]
    opened.close()


def test_killed_while_writing_no_committed_row_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from edge_malaria.runtime.store.database import open_database\n"
        "from edge_malaria.runtime.store.slides import SlideEntry, Worklist\n"
        "d = Path(sys.argv[1]); w = Worklist(open_database(d), d)\n"
        "n = int(sys.argv[2])\n"
        "while True:\n"
        "    w.put(SlideEntry(f's{n}', 'A')); print(n, flush=True); n += 1\n"
    )
    told = -1
    for wait_s in (0.05, 0.12, 0.2, 0.3):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(told + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        told = int(child.stdout.readline())
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
        told = max([told, *map(int, child.stdout.read().split("\n")[:-1])])
        child.wait()
        child.stdout.close()
        opened = open_database(tmp_path)
        count = opened.execute("SELECT count(*) FROM slides").fetchone()[0]
        opened.close()
        assert count >= told + 1, "what was told as written is there"
        told = count - 1


def test_disks_that_forget_or_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "overlay / overlay rw,lowerdir=/x 0 0\n"
        f"/dev/sda1 {tmp_path / 'usb'} ext4 rw,relatime 0 0\n"
        f"/dev/sda2 {tmp_path / 'locked'} ext4 ro,relatime 0 0\n"
    )
    for name in ("usb", "locked", "usbother"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("EDGE_MALARIA_FORGETFUL_DISK")
    check_keeps(tmp_path / "usb", mounts)
    assert file_system(tmp_path / "usbother", mounts) == ("overlay", False)
    with pytest.raises(StorageError, match="Overlay File System"):
        check_keeps(tmp_path / "usbother", mounts)
    with pytest.raises(StorageError, match="write-protected"):
        check_keeps(tmp_path / "locked", mounts)
    assert file_system(tmp_path, tmp_path / "none") == ("", False)
    free = shutil.disk_usage(tmp_path).free
    assert room(tmp_path).free_bytes == pytest.approx(free, rel=0.2)
