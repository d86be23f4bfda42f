"""The page on which a person looks at flagged cells.

It is a local web server on this machine's own address, of nothing but the standard library.

Every request must name this server as its host and, where it changes something, carry the page's
token: another page open in the same browser can neither read nor decide.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from edge_malaria.errors import DataError, EdgeMalariaError
from edge_malaria.records import RESEARCH_USE
from edge_malaria.runtime.report import sayings
from edge_malaria.runtime.review.session import ReviewSession
from edge_malaria.runtime.slide.review import FlaggedCell
from edge_malaria.runtime.words.language import words_for

HOST = "127.0.0.1"
_MOST_BODY_BYTES = 10_000


class ReviewServer:
    """Serves one review.

    Args:
        session: the slide's.
        reader: the name that the page starts with.
        port: 0 takes a free one.

    Attributes:
        done: set when a reader says that the review is finished.
    """

    def __init__(self, session: ReviewSession, reader: str = "", port: int = 0) -> None:
        self.session, self.reader = session, reader
        self.token = secrets.token_urlsafe(16)
        self.done = threading.Event()
        try:
            self._server = ThreadingHTTPServer((HOST, port), _handler(self))
        except OSError as error:
            raise DataError(f"port {port} cannot be used: {error.strerror}.") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def hosts(self) -> tuple[str, str]:
        """The names under which a browser may ask for this server."""
        port = self._server.server_address[1]
        return f"{HOST}:{port}", f"localhost:{port}"

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.hosts[0]}/"

    def start(self) -> None:
        """Serves from now on, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stops serving."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def page(self) -> str:
        """The page's HTML."""
        text = resources.files("edge_malaria.runtime.review").joinpath("page.html")
        return (
            text.read_text(encoding="utf-8")
            .replace("$RESEARCH_USE", RESEARCH_USE)
            .replace('"$START"', _for_script({"token": self.token, "reader": self.reader}))
        )

    def state(self, reader: str) -> dict[str, Any]:
        """The flagged cells with ``reader``'s own decisions; those of others stay hidden."""
        review = self.session.review
        count = review.count()
        return {
            "cells": [self._cell(cell, reader) for cell in self.session.cells],
            "count": count.as_json(),
            "open": count.open,
        }

    def _cell(self, cell: FlaggedCell, reader: str) -> dict[str, Any]:
        own = self.session.review.decisions(cell.key).get(reader)
        return {
            "field": cell.field,
            "index": cell.index,
            "box": list(cell.box),
            "size": list(cell.size_px),
            "p": cell.p_parasitized,
            "view": cell.view,
            "crop": "" if cell.view else cell.jpeg,
            "decision": own.decision if own else "",
        }

    def decide(self, body: dict[str, Any]) -> dict[str, Any]:
        """Takes one decision and returns the new state."""
        try:
            field, index = str(body["field"]), int(body["index"])
            line = self.session.decide(field, index, body["decision"], str(body["reader"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"no decision: {error}.") from error
        return self.state(line.reader)

    def finish(self, body: dict[str, Any]) -> dict[str, Any]:
        """Writes the report anew; ``close`` in the body ends the review."""
        report = self.session.write_report()
        if body.get("close"):
            self.done.set()
        words = words_for("en")
        return {
            "title": sayings.verdict_title(words, report),
            "verdict": report.verdict,
            "basis": sayings.basis(words, report),
            "why": report.details["statistics"]["why"],
            "next": sayings.next_steps(words, report),
        }

    def file(self, name: str) -> tuple[str, bytes] | None:
        """(type, bytes) of a file of the report that the page may show; None for any other."""
        views = {cell.view for cell in self.session.cells if cell.view}
        pages = {view.removesuffix(".jpg") + ".html" for view in views}
        if name not in views | pages | {"report.html"}:
            return None
        kind = "image/jpeg" if name in views else "text/html; charset=utf-8"
        try:
            return kind, (self.session.directory / PurePosixPath(name)).read_bytes()
        except OSError:
            return None


def _for_script(value: dict[str, str]) -> str:
    """JSON that is safe inside a script element."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e")


def _handler(app: ReviewServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "edge-malaria"
        sys_version = ""
        protocol_version = "HTTP/1.1"
        timeout = 30

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are no news."""

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if self.headers.get("Host") not in app.hosts:
                self._send(403, "text/plain", b"another host")
            elif address.path == "/":
                self._send(200, "text/html; charset=utf-8", app.page().encode())
            elif address.path == "/state":
                reader = " ".join(parse_qs(address.query).get("reader", [""])[0].split())
                self._answer(lambda: app.state(reader))
            else:
                found = app.file(address.path.lstrip("/"))
                if found is None:
                    self._send(404, "text/plain", b"not here")
                else:
                    self._send(200, *found)

        def do_POST(self) -> None:
            actions = {"/decide": app.decide, "/finish": app.finish}
            action = actions.get(self.path)
            token = self.headers.get("X-Token", "")
            length = self.headers.get("Content-Length", "")
            if self.headers.get("Host") not in app.hosts or not hmac.compare_digest(
                token.encode(), app.token.encode()
            ):
                self.close_connection = True
                self._send(403, "text/plain", b"not from the review page")
            elif action is None or not length.isdigit() or int(length) > _MOST_BODY_BYTES:
                self.close_connection = True
                self._send(404, "text/plain", b"not here")
            else:
                self._act(action, self.rfile.read(int(length)))

        def _act(self, action: Callable[[dict[str, Any]], dict[str, Any]], data: bytes) -> None:
            try:
                body = json.loads(data)
                if not isinstance(body, dict):
                    raise ValueError("no object")
            except (ValueError, RecursionError):
                self._send(400, "text/plain", b"no JSON object")
                return
            self._answer(lambda: action(body))

        def _answer(self, make: Callable[[], dict[str, Any]]) -> None:
            try:
                self._send(200, "application/json", json.dumps(make()).encode())
            except EdgeMalariaError as error:
                self._send(409, "application/json", json.dumps({"error": str(error)}).encode())

        def _send(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.end_headers()
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    return Handler
