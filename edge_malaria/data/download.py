"""Fetches a published archive: resumes, retries, falls back to a mirror, verifies.

The bytes go into ``<name>.part`` beside the target; only a file of the published size and SHA-256
gets the target's name. An interrupted run leaves the part, and the next one goes on from there.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edge_malaria.disk_sync import fsync_directory
from edge_malaria.errors import DataError, UsageError
from edge_malaria.files import sha256_of, storage_errors

_CHUNK_BYTES = 1 << 18
Progress = Callable[[int, int | None], None]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """A file that its publisher describes.

    Attributes:
        name: of the file on the disk.
        urls: the official address first, then mirrors.
        sha256: hex digest of the whole file.
        size_bytes: None where it is not published.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        for url in self.urls:
            if urlsplit(url).scheme not in ("http", "https"):
                raise UsageError(f"expected an http or https address, got {url}.")
        if len(self.sha256) != 64 or not set(self.sha256.lower()) <= set("0123456789abcdef"):
            raise UsageError(f"expected a SHA-256 of 64 hex digits, got {self.sha256!r}.")


# Size and digest as the TensorFlow Datasets builder ``malaria`` records them.
NIH_CELLS = Archive(
    name="cell_images.zip",
    urls=(
        "https://data.lhncbc.nlm.nih.gov/public/Malaria/cell_images.zip",
        "https://ceb.nlm.nih.gov/proj/malaria/cell_images.zip",
    ),
    sha256="0a949556b2414159b5100192609805376654c4266d8d187be9b1922fad43c668",
    size_bytes=353_452_851,
)


class _Refused(Exception):
    """This address will not give the file; trying it again is no use."""


class _Broken(Exception):
    """The transfer failed; trying again may help."""


@dataclass(frozen=True)
class Patience:
    """How long to go on.

    Attributes:
        retries: attempts without a single new byte before an address is given up.
        wait_s: pause before the second attempt; it doubles up to ``longest_wait_s``.
        longest_wait_s: upper limit of the pause.
        timeout_s: for connecting and for each read.
    """

    retries: int = 5
    wait_s: float = 1.0
    longest_wait_s: float = 30.0
    timeout_s: float = 30.0


def fetch(
    archive: Archive,
    directory: Path,
    *,
    progress: Progress = lambda done, total: None,
    log: Log = lambda line: None,
    patience: Patience | None = None,
) -> Path:
    """Brings ``archive`` into ``directory`` and returns its path.

    A verified file that is there already is returned without touching the network.

    Args:
        archive: what to fetch.
        directory: made where needed.
        progress: called with (bytes so far, bytes in all or None).
        log: called with one line on every retry, resume or change of address.
        patience: retries and timeouts.

    Raises:
        DataError: no address gave the file of the published size and digest.
        StorageError: disk full or not writable.
    """
    target = directory / archive.name
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        if _is_right(target, archive):
            return target
        raise DataError(
            f"{target} exists but is not the published file (SHA-256 differs). "
            "Move it away and try again."
        )
    part = directory / f"{archive.name}.part"
    problems = []
    for url in archive.urls:
        try:
            _fetch_from(url, archive, part, progress, log, patience or Patience())
        except (_Refused, _Broken) as problem:
            problems.append(f"{url}: {problem}")
            log(f"{url}: {problem}")
            continue
        with storage_errors(target):
            os.replace(part, target)
            fsync_directory(directory)
        return target
    kept = part.stat().st_size if part.is_file() else 0
    again = f" {kept} bytes are kept; the same command goes on from there." if kept else ""
    raise DataError(f"could not fetch {archive.name}. {'; '.join(problems)}.{again}")


def _fetch_from(
    url: str, archive: Archive, part: Path, progress: Progress, log: Log, patience: Patience
) -> None:
    """Fills ``part`` from one address and verifies it."""
    failures, wait_s = 0, patience.wait_s
    restarted = False
    while True:
        start = _size(part)
        if archive.size_bytes is None or start != archive.size_bytes:
            try:
                _transfer(url, archive, part, progress, log, patience.timeout_s)
            except _Broken as problem:
                if _size(part) > start:
                    failures, wait_s = 0, patience.wait_s
                failures += 1
                if failures >= patience.retries:
                    raise
                log(f"{problem}; trying again in {wait_s:g} s")
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, patience.longest_wait_s)
                continue
        if _is_right(part, archive):
            return
        got = sha256_of(part)[:12] if part.is_file() else "nothing"
        part.unlink(missing_ok=True)
        if start == 0 or restarted:
            raise _Refused(f"expected SHA-256 {archive.sha256[:12]}..., got {got}...")
        # The first bytes may stem from another address or an older file: once more from zero.
        log("the resumed file is not the published one; starting over")
        restarted = True


def _transfer(
    url: str, archive: Archive, part: Path, progress: Progress, log: Log, timeout_s: float
) -> None:
    """One request: appends to ``part`` until the answer ends."""
    start = _size(part)
    if archive.size_bytes is not None and start > archive.size_bytes:
        part.unlink()
        start = 0
    request = urllib.request.Request(url, headers={"User-Agent": "edge-malaria"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            start, total = _agree(answer, start, archive, log)
            _copy(answer, part, start, total, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _Broken("the server has fewer bytes than are here") from error
        if error.code >= 500 or error.code in (408, 429):
            raise _Broken(f"HTTP {error.code} {error.reason}") from error
        raise _Refused(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        # URLError, time-outs, resets and TLS errors; trouble with the disk is a StorageError.
        raise _Broken(f"connection failed ({getattr(error, 'reason', error)})") from error


def _agree(
    answer: http.client.HTTPResponse, start: int, archive: Archive, log: Log
) -> tuple[int, int | None]:
    """Where the answer's bytes begin, and how many the whole file has."""
    if answer.status == 206:
        span = answer.headers.get("Content-Range", "")
        first, _, length = span.removeprefix("bytes ").partition("/")
        if first.partition("-")[0] != str(start):
            raise _Refused(f"asked for bytes from {start}, got Content-Range {span!r}")
        total = int(length) if length.isdigit() else None
        log(f"resuming at {start} bytes")
    else:
        if start:
            log("the server cannot resume; starting over")
        start = 0
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
    if archive.size_bytes is not None and total is not None and total != archive.size_bytes:
        raise _Refused(f"expected {archive.size_bytes} bytes, the server has {total}")
    return start, archive.size_bytes if total is None else total


def _copy(
    answer: http.client.HTTPResponse, part: Path, start: int, total: int | None, progress: Progress
) -> None:
    done = start
    with storage_errors(part):
        # Unbuffered: nothing is left to be written, and to fail, when it is closed.
        out = part.open("ab" if start else "wb", buffering=0)
    with out:
        progress(done, total)
        while total is None or done < total:
            want = _CHUNK_BYTES if total is None else min(_CHUNK_BYTES, total - done)
            # Not inside storage_errors: a lost connection is an OSError too.
            # read1 hands over what has come: a stalled connection loses nothing of it.
            data = answer.read1(want)
            if not data:
                break
            with storage_errors(part):
                rest = memoryview(data)
                while rest:
                    rest = rest[out.write(rest) :]
            done += len(data)
            progress(done, total)
        with storage_errors(part):
            os.fsync(out.fileno())
    if total is not None and done < total:
        raise _Broken(f"connection closed after {done} of {total} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _is_right(path: Path, archive: Archive) -> bool:
    if not path.is_file():
        return False
    if archive.size_bytes is not None and path.stat().st_size != archive.size_bytes:
        return False
    return sha256_of(path) == archive.sha256.lower()
