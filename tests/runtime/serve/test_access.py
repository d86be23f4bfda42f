"""Who may enter where: every door with its role, forms, sizes, headers, the trail, users."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Route

from edge_malaria.errors import StorageError, UsageError
from edge_malaria.runtime.serve.app import application
from edge_malaria.runtime.serve.headers import HEADERS
from edge_malaria.runtime.serve.routes import DOORS
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.users import ROLES as ALL_ROLES
from edge_malaria.runtime.serve.visit import Door
from edge_malaria.runtime.store.database import NAME
from tests.cli import run_cli
from tests.runtime.serve.conftest import ROLES, Serving

# Every way in, by hand: a new one has to be thought about here.
EXPECTED = {
    "GET /healthz": None,
    "GET /metrics": None,
    "GET /static/{name}": None,
    "GET /openapi.json": "reader",
    "GET /sign-in": None,
    "POST /sign-in": None,
    "POST /language": None,
    "POST /sign-out": "reader",
    "GET /": "reader",
    "GET /new": "reader",
    "POST /new": "reader",
    "GET /slides/{slide}": "reader",
    "GET /empty-place": "reader",
    "POST /empty-place": "reader",
    "POST /slides/{slide}/start": "reader",
    "POST /slides/{slide}/pause": "reader",
    "POST /slides/{slide}/finish": "reader",
    "POST /slides/{slide}/upload": "reader",
    "GET /slides/{slide}/live": "reader",
    "GET /slides/{slide}/frame.jpg": "reader",
    "GET /slides/{slide}/review": "reader",
    "POST /slides/{slide}/who": "reader",
    "POST /slides/{slide}/decide": "reader",
    "GET /slides/{slide}/cells/{number}.jpg": "reader",
    "GET /slides/{slide}/fields": "reader",
    "GET /slides/{slide}/fields/{number}": "reader",
    "GET /slides/{slide}/fields/{number}.jpg": "reader",
    "GET /slides/{slide}/report.pdf": "reader",
    "GET /slides/{slide}/report.fhir.json": "reader",
    "GET /slides/{slide}/report.json": "reader",
    "GET /slides/{slide}/report.html": "reader",
    "GET /slides/{slide}/cells.csv": "reader",
    "GET /slides/{slide}/review.csv": "reader",
    "GET /slides.csv": "reader",
    "GET /slides.zip": "reader",
    "GET /outbox": "supervisor",
    "POST /outbox/again": "supervisor",
    "POST /slides/{slide}/sign": "supervisor",
    "GET /users": "admin",
    "POST /users/add": "admin",
    "POST /users/change": "admin",
    "GET /audit": "admin",
}


def test_every_door_asks_for_its_role() -> None:
    assert {f"{door.method} {door.path}": door.role for door in DOORS} == EXPECTED


def test_there_is_no_other_way_in(serving: Serving) -> None:
    served = serving()
    inner = application(served.clinic)._app._app  # type: ignore[attr-defined]
    assert all(isinstance(route, Route) for route in inner.routes)
    found = [f"{method} {route.path}" for route in inner.routes for method in route.methods]
    assert sorted(way for way in found if not way.startswith("HEAD")) == sorted(EXPECTED)


def paths() -> Iterator[tuple[Door, str]]:
    for door in DOORS:
        path = door.path.replace("{slide}", "none").replace("{number}", "0")
        yield door, path.replace("{name}", "style.css")


@pytest.mark.parametrize("name", ["", *ROLES])
def test_a_role_enters_its_own_doors_and_no_other(serving: Serving, name: str) -> None:
    browser = serving(users=True).browser(name)
    rank = ALL_ROLES.index(ROLES[name]) if name else -1  # type: ignore[arg-type]
    # Signing out would end the round.
    token = browser.token("/")
    rest = [(door, path) for door, path in paths() if path not in ("/sign-out", "/sign-in")]
    for door, path in rest:
        if door.method == "GET":
            code = browser.client.get(path).status_code
        else:
            code = browser.client.post(path, data={"csrf": token}).status_code
        needed = -1 if door.role is None else ALL_ROLES.index(door.role)
        inside = rank >= needed
        if path == "/metrics":
            inside = rank >= ALL_ROLES.index("supervisor")
        assert (code not in (401, 403)) == inside, f"{door.method} {path}: {code}"
        assert code < 500, f"{door.method} {path}: {code}"


def test_a_form_of_elsewhere_is_refused(serving: Serving) -> None:
    served = serving(users=True)
    browser, other = served.browser("Ada"), served.browser("Ada")
    mine = browser.token("/")
    assert mine != other.token("/")
    form = {"name": "Eve", "role": "admin", "password": "long-enough-password"}
    tries = [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": other.token("/")}, {}),
        ({"csrf": mine}, {"Origin": "https://elsewhere.example"}),
        ({"csrf": mine}, {"Origin": "null"}),
        ({"csrf": mine}, {"Sec-Fetch-Site": "cross-site"}),
    ]
    for fields, headers in tries:
        answer = browser.client.post("/users/add", data={**form, **fields}, headers=headers)
        assert answer.status_code == 403, (fields, headers)
    assert served.clinic.users.get("Eve") is None
    good = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    answer = browser.client.post("/users/add", data={**form, "csrf": mine}, headers=good)
    assert answer.status_code == 303
    assert served.clinic.users.get("Eve") is not None


def test_another_name_for_this_machine_is_refused(serving: Serving) -> None:
    client = serving().client()
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 403
    assert client.get("/", headers={"Host": "127.0.0.1:81"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost"}).status_code == 200


def test_every_answer_carries_the_headers(serving: Serving) -> None:
    served = serving(users=True)
    browser = served.browser("Rita")
    for path in ("/", "/slides/none", "/nowhere", "/healthz", "/static/style.css", "/users"):
        answer = browser.client.get(path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, path
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert browser.client.get("/").headers["cache-control"] == "no-store"
    served.clinic.desk.entries = None  # type: ignore[method-assign,assignment]
    broken = browser.client.get("/")
    assert broken.status_code == 500
    assert broken.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    assert "Traceback" not in broken.text and "TypeError" not in broken.text


def test_too_much_is_refused(serving: Serving) -> None:
    served = serving(upload_bytes=200_000)
    browser = served.browser()
    token = browser.token("/new")
    large = "x" * 70_000
    assert browser.client.post("/new", data={"csrf": token, "sample": large}).status_code == 413
    files = {"pictures": ("a.jpg", b"\xff\xd8\xff" + bytes(250_000), "image/jpeg")}
    path = "/slides/none/upload"
    assert browser.client.post(path, data={"csrf": token}, files=files).status_code == 413

    def endless() -> Iterator[bytes]:
        # No length is told: what comes is counted.
        yield b"csrf=" + token.encode() + b"&sample="
        for _ in range(100):
            yield b"x" * 10_000

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert browser.client.post("/new", content=endless(), headers=kind).status_code == 413


def test_the_trail_cannot_be_changed(serving: Serving, tmp_path: Path) -> None:
    served = serving(users=True)
    served.browser("Rita")
    line = served.clinic.audit.latest()[0]
    assert (line.action, line.detail, line.address) == ("signed-in", "Rita", "192.0.2.7")
    connection = sqlite3.connect(tmp_path / "data" / NAME)
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            connection.execute(statement)
    connection.close()
    with pytest.raises(ValueError, match="expected an action"):
        served.clinic.audit.add("x", "reader", "", "danced")


def test_the_trail_keeps_its_order_when_the_clock_is_set_back(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serving()
    audit = served.clinic.audit
    audit.add("Ada", "admin", "", "signed-in")
    with served.clinic.store.use() as connection:
        connection.execute(
            "INSERT INTO audit (at, who, role, address, action) "
            "VALUES ('1999-01-01T00:00:00+00:00', 'Ada', 'admin', '', 'signed-out')"
        )
    assert [line.action for line in audit.latest(2)] == ["signed-out", "signed-in"]


def test_an_open_address_needs_users(tmp_path: Path) -> None:
    ran = run_cli("serve", "--host", "0.0.0.0", "--data", tmp_path / "d", "--port", "0")
    assert ran.code == 2
    assert "users add NAME --role admin" in ran.error


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.5", False), ("clinic.example", False)],
)  # fmt: skip
def test_what_is_local(host: str, local: bool, tmp_path: Path) -> None:
    settings = ServeSettings(tmp_path, host)
    assert settings.local == local
    if local:
        settings.check(users=False)
    else:
        with pytest.raises(UsageError, match="no user"):
            settings.check(users=False)
    settings.check(users=True)


def test_half_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong together"):
        ServeSettings(tmp_path, certificate=tmp_path / "c.pem").check(users=True)


def test_users_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    ran = run_cli("users", "add", "Ada", "--role", "admin", "--data", tmp_path)
    assert (ran.code, "10 to 200 characters" in ran.error) == (2, True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("a-good-password\n"))
    assert run_cli("users", "add", "Ada", "--role", "admin", "--data", tmp_path).code == 0
    assert "Ada" in run_cli("users", "list", "--data", tmp_path).out
    assert run_cli("users", "change", "Ada", "--disable", "--data", tmp_path).code == 2
    assert run_cli("users", "change", "Eve", "--disable", "--data", tmp_path).code == 2


def test_a_full_disk_is_told_in_words(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving()

    def full(*_: object, **__: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(served.clinic.desk, "make", full)
    answer = served.browser().post("/new", 507, sample="A", reader="R")
    assert "disk full" in answer.text
