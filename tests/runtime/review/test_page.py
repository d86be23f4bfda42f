"""The page of the review: decisions over HTTP, what is shut out, many at once."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

from edge_malaria.runtime.review.server import ReviewServer
from tests.runtime.review.judging import report


def ask(
    server: ReviewServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes]:
    """One request as the page makes it; ``headers`` replace its own."""
    connection = http.client.HTTPConnection(server.hosts[0], timeout=20)
    sent = {"X-Token": server.token, **{k.replace("_", "-"): v for k, v in headers.items()}}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def test_the_page_takes_decisions_and_writes_the_report(server: ReviewServer) -> None:
    status, page = ask(server, "GET", "/")
    assert (status, b"http://" not in page, b"https://" not in page) == (200, True, True)
    assert server.token.encode() in page
    state = json.loads(ask(server, "GET", "/state?reader=Ana")[1])
    assert len(state["cells"]) == len(server.session.cells)
    for cell in state["cells"]:
        assert ask(server, "GET", "/" + cell["view"])[1][:3] == b"\xff\xd8\xff"
        body = {"field": cell["field"], "index": cell["index"], "reader": "Ana"}
        status, data = ask(server, "POST", "/decide", {**body, "decision": "parasite"})
        assert status == 200
    assert json.loads(data)["count"]["confirmed"] == len(state["cells"])
    found = json.loads(ask(server, "POST", "/finish", {"close": True})[1])
    assert found["verdict"] == "parasites-detected"
    assert server.done.is_set()
    assert report(server.session.directory)["basis"] == "reader"
    # Another reader starts without seeing what the first one said.
    other = json.loads(ask(server, "GET", "/state?reader=Ben")[1])
    assert {cell["decision"] for cell in other["cells"]} == {""}


def test_other_pages_and_other_files_are_shut_out(server: ReviewServer) -> None:
    cell = server.session.cells[0]
    body = {"field": cell.field, "index": cell.index, "decision": "parasite", "reader": "Ana"}
    assert ask(server, "POST", "/decide", body, X_Token="wrong")[0] == 403
    assert ask(server, "POST", "/decide", body, Host="evil.example")[0] == 403
    assert ask(server, "GET", "/state", Host="evil.example")[0] == 403
    for path in ("/journal.jsonl", "/../x", "/fields/../journal.jsonl", "/fields/", "/etc/passwd"):
        assert ask(server, "GET", path)[0] == 404
    assert ask(server, "POST", "/decide", [1])[0] == 400
    assert ask(server, "POST", "/decide", {**body, "field": "x"})[0] == 409
    assert ask(server, "POST", "/decide", {**body, "reader": ""})[0] == 409
    assert list(server.session.journal.reviews()) == []


def test_many_decisions_at_once_are_all_kept(server: ReviewServer) -> None:
    cells = server.session.cells

    def reader(name: str) -> None:
        for cell in cells:
            body = {"field": cell.field, "index": cell.index, "decision": "unsure", "reader": name}
            assert ask(server, "POST", "/decide", body)[0] == 200

    threads = [threading.Thread(target=reader, args=(f"Reader {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(server.session.journal.reviews())) == 4 * len(cells)
    assert server.session.journal.faults == []
