"""The clock: whether it can be right, and what sets it."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_malaria.doctor.finding import Finding

# No right clock is before that: this version and its bundles were made later.
_MADE = datetime(2026, 11, 1, tzinfo=UTC)
_SLACK_S = 3600.0
CHRONY = ("chronyc", "-c", "tracking")
# Columns of that table (chronyc(1), "tracking"): the source, when it was last heard, the state.
_SOURCE, _HEARD, _STATE, _COLUMNS = 0, 3, 13, 14
# Not one source yet, and chrony's "local" mode, in which it takes its own clock for one.
_NO_SOURCES = ("00000000", "7F7F0101")
# adjtimex(2): the clock is not synchronized; the structure has 208 bytes.
_TIME_ERROR, _TIMEX_BYTES = 5, 512


def clock(root: Path, now_s: float, latest_s: float) -> Finding:
    """Looks at the clock.

    Args:
        root: where ``/sys`` and ``/run`` lie; of another than ``/`` no running program is asked.
        now_s: what it shows, seconds since 1970.
        latest_s: when the latest slide was read, 0 for none.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    detail = f"{now:%Y-%m-%d %H:%M} UTC"
    battery = (root / "sys" / "class" / "rtc" / "rtc0").exists()
    set_it = 'sudo date -s "2026-11-27 12:34" sets it'
    if now < _MADE:
        detail += f", before this version and its bundle were made ({_MADE:%Y-%m-%d})"
        return Finding("clock", "problem", detail, f"{set_it}; a battery clock keeps it")
    if now_s < latest_s - _SLACK_S:
        latest = datetime.fromtimestamp(latest_s, UTC)
        detail += f", before the latest slide was read ({latest:%Y-%m-%d %H:%M})"
        return Finding("clock", "problem", detail, f"{set_it}; a battery clock keeps it")
    setter = _set_by(root, now_s)
    if setter:
        return Finding("clock", "ok", f"{detail}, set by the network ({setter})")
    if battery:
        detail += ", kept by a battery clock, not set by the network"
        return Finding("clock", "missing", detail, f"compare it with a watch; {set_it}")
    detail += ", not set by the network, and no battery clock: it is wrong after each start"
    return Finding("clock", "missing", detail, f"{set_it}; fit a battery clock (RTC)")


def _set_by(root: Path, now_s: float) -> str:
    """The program that set the clock by the network since the start, "" where none did."""
    # systemd-timesyncd leaves this file once the time was fetched (systemd-timesyncd.service(8)).
    if (root / "run" / "systemd" / "timesync" / "synchronized").exists():
        return "systemd-timesyncd"
    if root != Path("/"):
        return ""
    heard_s = chrony_heard(CHRONY)
    if heard_s is not None:
        return f"chrony, {_ago(now_s - heard_s)}"
    return "the kernel's clock is synchronized" if kernel_synchronized() else ""


def _ago(seconds: float) -> str:
    if seconds < 7200:
        return f"{max(0.0, seconds) / 60:.0f} minutes ago"
    return f"{seconds / 3600:,.0f} hours ago"


def chrony_heard(command: Sequence[str]) -> float | None:
    """When chrony last heard a time source, seconds since 1970; None where it has none.

    Args:
        command: ``chronyc -c tracking``, which everybody on the machine may call.
    """
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _heard(answer.stdout) if answer.returncode == 0 else None


def _heard(tracking: str) -> float | None:
    """The same from the table that chronyc prints."""
    columns = tracking.strip().split(",")
    if len(columns) < _COLUMNS or columns[_SOURCE] in _NO_SOURCES:
        return None
    try:
        heard_s = float(columns[_HEARD])
    except ValueError:
        return None
    known = math.isfinite(heard_s) and heard_s > 0
    return heard_s if known and columns[_STATE] != "Not synchronised" else None


def kernel_synchronized() -> bool:
    """Whether the kernel holds its clock for set by a source, whichever program does it.

    Every such program tells the kernel; chrony does with ``rtcsync``, as Debian sets it.
    """
    if not sys.platform.startswith("linux"):
        return False
    values = ctypes.create_string_buffer(_TIMEX_BYTES)
    # All zero: nothing is changed, so that everybody may ask.
    state = ctypes.CDLL(None, use_errno=True).adjtimex(values)
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return bool(state != _TIME_ERROR)
