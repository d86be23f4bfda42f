"""The device itself: disk, file system, worklist, memory, clock, temperature, power."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from edge_malaria.doctor.clock import clock
from edge_malaria.doctor.finding import Finding
from edge_malaria.runtime.store.disk import FORGETTING, file_system

# What a slide takes where none was read here yet: 200 fields kept with their pictures, bytes.
_USUAL_SLIDE_BYTES = 300_000_000
# Slides of so many days say how fast the disk fills.
_RATE_DAYS = 30
_LEAST_DAYS = 7
# An idle server takes 150 MB at most, a slide on its way some 150 MB more.
_LEAST_MEMORY_BYTES = 300_000_000
# A Raspberry Pi slows down from 80 degrees Celsius on ("Frequency management and thermal control"
# in its documentation); other processors at some 95 or more.
_HOT_PI_C, _HOT_C = 80.0, 95.0
# "vcgencmd", get_throttled, in Raspberry Pi's documentation; the upper half: since the start.
_NOW = {
    0: "the supply's voltage is too low",
    1: "the processor's clock is capped",
    2: "the processor is throttled",
    3: "the soft temperature limit is active",
}
_SINCE = 16
_WEAK, _HOT = "voltage", "temperature"
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def examine_device(data: Path | None, root: Path = Path("/")) -> list[Finding]:
    """Looks at the machine.

    Args:
        data: the device's data folder; None looks at the disk one stands on.
        root: where ``/proc``, ``/sys``, ``/run`` and ``/dev`` lie.
    """
    folder = data or Path.cwd()
    slides = [] if data is None else _slide_sizes(data)
    return [
        _disk(folder, slides),
        _file_system(folder, root, known=data is not None),
        *([_worklist(folder)] if data is not None else []),
        _memory(root),
        clock(root, time.time(), max((when for when, _ in slides), default=0.0)),
        _temperature(root),
        _power(root),
    ]


def _megabytes(value: float) -> str:
    return f"{value / 1e9:,.1f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(p for p in (folder, *folder.absolute().parents) if p.is_dir())


def _slide_sizes(folder: Path) -> list[tuple[float, int]]:
    """(when its journal was last written, bytes) of each slide."""
    found = []
    for journal in sorted((folder / "slides").glob("*/journal.jsonl")):
        files = [path for path in journal.parent.rglob("*") if path.is_file()]
        found.append((journal.stat().st_mtime, sum(path.stat().st_size for path in files)))
    return found


def _disk(folder: Path, slides: list[tuple[float, int]]) -> Finding:
    try:
        free = shutil.disk_usage(_there(folder)).free
    except OSError as error:
        return Finding("disk", "problem", f"cannot be read: {error}", "check the card: dmesg")
    sizes = sorted(size for _, size in slides)
    a_slide = max(sizes[len(sizes) // 2], 1_000_000) if sizes else _USUAL_SLIDE_BYTES
    recent = sum(size for when, size in slides if when >= time.time() - _RATE_DAYS * 86400)
    detail = f"{_megabytes(free)} free, about {free // a_slide:,} slides of {_megabytes(a_slide)}"
    days = free / (recent / _RATE_DAYS) if recent else None
    if days is not None:
        detail += f"; full in about {days:,.0f} days at the last {_RATE_DAYS} days' rate"
    fix = "edge-malaria backup DATA -o ELSEWHERE.zip, then move slides that are signed away"
    if free < 3 * a_slide or (days is not None and days < _LEAST_DAYS):
        return Finding("disk", "problem", detail, fix)
    return Finding("disk", "ok", detail)


def _file_system(folder: Path, root: Path, *, known: bool) -> Finding:
    kind, read_only = file_system(_there(folder), root / "proc" / "self" / "mounts")
    if not kind:
        return Finding("file system", "missing", "not told here", "look at it with: findmnt")
    detail = f"{kind}, below {_there(folder)}"
    if read_only or not os.access(_there(folder), os.W_OK):
        fix = "choose another --data folder, or: sudo mount -o remount,rw MOUNTPOINT"
        return Finding("file system", "problem", f"{detail}: write-protected", fix)
    if kind in FORGETTING:
        fix = (
            "raspi-config > Performance > Overlay File System switches it off; or give --data a "
            "folder on another disk"
        )
        lost = f"{detail}: {FORGETTING[kind]}, what is written there is gone at the next start"
        # Where no data folder was named, nothing is lost yet.
        return Finding("file system", "problem" if known else "missing", lost, fix)
    return Finding("file system", "ok", detail)


def _worklist(folder: Path) -> Finding:
    path = folder / "store.sqlite3"
    if (folder / ".restoring").exists():
        fix = "remove the folder and restore again"
        return Finding("worklist", "problem", "a restoring was interrupted", fix)
    if not path.is_file():
        fix = "edge-malaria serve makes it; edge-malaria restore brings a backup's back"
        return Finding("worklist", "missing", f"no {path.name} in {folder}", fix)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            found = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
            slides = int(opened.execute("SELECT count(*) FROM slides").fetchone()[0])
    except sqlite3.Error as error:
        found, slides = str(error), 0
    if found != "ok":
        fix = "restore a backup, or move it away: slides are read anew from their journals"
        return Finding("worklist", "problem", f"damaged: {found}", fix)
    return Finding("worklist", "ok", f"whole, {slides:,} slides")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _memory(root: Path) -> Finding:
    values = {}
    for line in _lines(root / "proc" / "meminfo"):
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdecimal():
            values[name] = int(number[0]) * 1024
    if "MemAvailable" not in values:
        return Finding("memory", "missing", "not told here", "look at it with: free -m")
    available, total = values["MemAvailable"], values.get("MemTotal", 0)
    detail = f"{_megabytes(available)} of {_megabytes(total)} available"
    if available < _LEAST_MEMORY_BYTES:
        fix = "end other programs, the desktop above all: sudo systemctl set-default multi-user"
        return Finding("memory", "problem", detail, fix)
    return Finding("memory", "ok", detail)


def _is_pi(root: Path) -> bool:
    return any("Raspberry Pi" in line for line in _lines(root / "proc/device-tree/model"))


def _temperature(root: Path) -> Finding:
    found = []
    for zone in sorted((root / "sys" / "class" / "thermal").glob("thermal_zone*")):
        value, kind = _lines(zone / "temp"), _lines(zone / "type")
        if value and value[0].strip().lstrip("-").isdecimal():
            found.append((int(value[0]) / 1000, kind[0] if kind else zone.name))
    if not found:
        return Finding("temperature", "missing", "not told here", "feel the case after a slide")
    degrees, name = max(found)
    detail = f"{degrees:.0f} degrees Celsius ({name})"
    if not (degrees < (_HOT_PI_C if _is_pi(root) else _HOT_C)):
        fix = "fit a heat sink or a fan, open the case, keep it out of the sun"
        return Finding("temperature", "problem", detail, fix)
    return Finding("temperature", "ok", detail)


def _throttled(root: Path) -> int | None:
    """The firmware's flags; None where this is no Raspberry Pi."""
    told = _lines(root / _THROTTLED)
    said = told[0] if told else ""
    if not said and root == Path("/") and shutil.which("vcgencmd"):
        try:
            said = subprocess.run(
                ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=10,
                check=False,
            ).stdout  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            said = ""
    number = said.strip().rpartition("=")[2].removeprefix("0x")
    try:
        return int(number, 16)
    except ValueError:
        return _low_voltage(root)


def _low_voltage(root: Path) -> int | None:
    """The mainline kernel's alarm of the same sensor, as the firmware's flag."""
    for sensor in sorted((root / "sys" / "class" / "hwmon").glob("hwmon*")):
        alarm = _lines(sensor / "in0_lcrit_alarm")
        if _lines(sensor / "name") == ["rpi_volt"] and alarm:
            return int(alarm[0].strip() == "1")
    return None


def _power(root: Path) -> Finding:
    flags = _throttled(root)
    if flags is None:
        fix = "only a Raspberry Pi tells: vcgencmd get_throttled"
        return Finding("power", "missing", "not told here", fix)
    now = [text for bit, text in _NOW.items() if flags >> bit & 1]
    since = [text for bit, text in _NOW.items() if flags >> (bit + _SINCE) & 1 and text not in now]
    if not now and not since:
        return Finding("power", "ok", "enough voltage, never throttled since the start")
    parts = [f"now: {', '.join(now)}"] if now else []
    parts += [f"since the start: {', '.join(since)}"] if since else []
    all_of = " ".join([*now, *since])
    fixes = []
    if _WEAK in all_of:
        fixes.append("use the board's own power supply and a short cable: a sagging one costs data")
    if _HOT in all_of or "throttled" in all_of or "capped" in all_of:
        fixes.append("cool the board: a heat sink or a fan")
    return Finding("power", "problem", f"{'; '.join(parts)} (0x{flags:x})", "; ".join(fixes))
