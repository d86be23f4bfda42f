"""Downloads against a real HTTP server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.data.download import NIH_CELLS, Archive, Patience, fetch
from edge_malaria.errors import DataError, StorageError, UsageError

CONTENT = np.random.default_rng(0).bytes(1_500_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(retries=3, wait_s=0.01, longest_wait_s=0.02, timeout_s=5)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``CONTENT`` under any path; ``plan`` says how, one word a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[str] = []
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.content = CONTENT

    def url(self, path: str = "cells.zip") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are part of the tests


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        server.paths.append(self.path)
        action = server.plan.pop(0) if server.plan else "ok"
        if self.path.startswith("/missing"):
            action = "404"
        if self.path.startswith("/wrong"):
            action = "wrong"
        if action.isdigit():
            self.send_error(int(action))
            return
        data = server.content
        if action == "wrong":
            data = bytes(len(data))
        if action == "short":
            data = data[:1000]
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(match[1]) if match and action != "no-range" else 0
        if start >= len(data):
            self.send_error(416)
            return
        if start:
            shown = start + (7 if action == "off-range" else 0)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if action == "cut":
            self.wfile.write(data[start : start + 400_000])
            self.wfile.flush()
            self.connection.close()
            return
        if action == "stall":
            self.wfile.write(data[start : start + 1000])
            self.wfile.flush()
            time.sleep(1.0)
            return
        self.wfile.write(data[start:])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def archive(*urls: str, size: int | None = len(CONTENT), digest: str = DIGEST) -> Archive:
    return Archive("cells.zip", urls, digest, size)


def test_fetches_and_verifies(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    got = fetch(
        archive(server.url()),
        tmp_path / "new" / "folder",
        progress=lambda done, total: seen.append((done, total)),
        patience=QUICK,
    )
    assert got.read_bytes() == CONTENT
    assert [p.name for p in got.parent.iterdir()] == ["cells.zip"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_is_there_and_right_needs_no_network(server: Server, tmp_path: Path) -> None:
    fetch(archive(server.url()), tmp_path, patience=QUICK)
    requests = len(server.paths)
    fetch(archive(server.url()), tmp_path, patience=QUICK)
    assert len(server.paths) == requests


def test_what_is_there_and_wrong_is_never_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip").write_bytes(b"someone's own file")
    with pytest.raises(DataError, match="not the published file"):
        fetch(archive(server.url()), tmp_path, patience=QUICK)
    assert (tmp_path / "cells.zip").read_bytes() == b"someone's own file"
    assert server.paths == []


def test_a_cut_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.plan = ["cut", "cut", "ok"]
    lines: list[str] = []
    got = fetch(archive(server.url()), tmp_path, log=lines.append, patience=QUICK)
    assert got.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=400000-", "bytes=800000-"]
    assert any("resuming at 400000" in line for line in lines)


def test_progress_restores_patience(server: Server, tmp_path: Path) -> None:
    # Four cuts are more than three retries, but each brought new bytes.
    server.plan = ["cut"] * 3 + ["500", "ok"]
    assert fetch(archive(server.url()), tmp_path, patience=QUICK).read_bytes() == CONTENT


def test_an_interrupted_run_goes_on_in_the_next(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done >= 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(archive(server.url()), tmp_path, progress=interrupt, patience=QUICK)
    kept = (tmp_path / "cells.zip.part").stat().st_size
    assert 500_000 <= kept < len(CONTENT)
    assert not (tmp_path / "cells.zip").exists()
    assert fetch(archive(server.url()), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={kept}-"


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_server_without_ranges_starts_over(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    server.plan = ["cut", "no-range"]
    got = fetch(archive(server.url(), size=size), tmp_path, patience=QUICK)
    assert got.read_bytes() == CONTENT


def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip.part").write_bytes(bytes(10_000))
    assert fetch(archive(server.url()), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.ranges == ["bytes=10000-", None]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_longer_than_the_file_is_thrown_away(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    (tmp_path / "cells.zip.part").write_bytes(bytes(2_000_000))
    got = fetch(archive(server.url(), size=size), tmp_path, patience=QUICK)
    assert got.read_bytes() == CONTENT


def test_a_complete_part_is_verified_without_a_request(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip.part").write_bytes(CONTENT)
    assert fetch(archive(server.url()), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.paths == []


@pytest.mark.parametrize("first", ["missing/cells.zip", "wrong/cells.zip"])
def test_the_mirror_helps_out(server: Server, tmp_path: Path, first: str) -> None:
    urls = (server.url(first), server.url())
    assert fetch(archive(*urls), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.paths == [f"/{first}", "/cells.zip"]


def test_a_stalled_connection_times_out_and_is_resumed(server: Server, tmp_path: Path) -> None:
    server.plan = ["stall", "ok"]
    patience = Patience(retries=3, wait_s=0.01, timeout_s=0.2)
    assert fetch(archive(server.url()), tmp_path, patience=patience).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (["wrong"], r"expected SHA-256 .* got"),
        (["short"], "expected 1500000 bytes, the server has 1000"),
        (["403"], "HTTP 403"),
        (["500"] * 9, "HTTP 500"),
        (["cut", "off-range"], "Content-Range"),
    ],
)
def test_failures_name_the_address_and_leave_no_target(
    server: Server, tmp_path: Path, plan: list[str], message: str
) -> None:
    server.plan = plan
    with pytest.raises(DataError, match=message) as caught:
        fetch(archive(server.url()), tmp_path, patience=QUICK)
    assert server.url() in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cells.zip").exists()


def test_retries_are_counted(server: Server, tmp_path: Path) -> None:
    server.plan = ["503"] * 9
    with pytest.raises(DataError, match="HTTP 503"):
        fetch(archive(server.url()), tmp_path, patience=QUICK)
    assert len(server.paths) == QUICK.retries


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="connection failed"):
        fetch(archive("http://127.0.0.1:9/cells.zip"), tmp_path, patience=QUICK)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cells.zip.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="disk full"):
        fetch(archive(server.url()), tmp_path, patience=QUICK)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/x", "cells.zip"])
def test_only_http_addresses(url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        archive(url)


def test_a_digest_must_be_one() -> None:
    with pytest.raises(UsageError, match="64 hex digits"):
        archive("http://127.0.0.1/", digest="abc")


def test_the_published_archive_is_described() -> None:
    assert NIH_CELLS.size_bytes == 353_452_851
    assert NIH_CELLS.sha256.startswith("0a949556b2414159")
    assert len(NIH_CELLS.urls) == 2
