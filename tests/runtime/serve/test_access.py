"""Who may enter where: every door with its role, forms, guessing, sizes, headers, the trail."""

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
from edge_malaria.runtime.serve.sessions import IDLE_S, SESSION_S, Sessions
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.serve.throttle import Throttle
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
    "GET /sign-in": None,
    "POST /sign-in": None,
    "POST /language": None,
    "POST /sign-out": "reader",
    "GET /": "reader",
    "GET /new": "reader",
    "POST /new": "reader",
    "GET /slides/{slide}": "reader",
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


def test_guessing_is_slowed_down_and_noted(serving: Serving) -> None:
    served = serving(users=True)
    browser = served.browser()
    for _ in range(5):
        browser.post("/sign-in", 403, name="Ada", password="wrong-password")
    answer = browser.post("/sign-in", 429, name="Ada", password="admin-password")
    assert int(answer.headers["retry-after"]) >= 1
    actions = [line.action for line in served.clinic.audit.latest()]
    assert actions.count("sign-in-failed") == 5
    assert "signed-in" not in actions


def test_waits_double_and_end() -> None:
    now = [0.0]
    throttle = Throttle(free=2, first_s=1, most_s=8, clock=lambda: now[0])
    waits = []
    for _ in range(8):
        throttle.failed("name Ada")
        waits.append(throttle.wait_s("name Ada", "address x"))
    assert waits == [0, 1, 2, 4, 8, 8, 8, 8]
    now[0] = 8.1
    assert throttle.wait_s("name Ada") == 0
    throttle.passed("name Ada")
    throttle.failed("name Ada")
    assert throttle.wait_s("name Ada") == 0


def test_cookies_are_closed_and_signing_in_makes_a_new_one(serving: Serving) -> None:
    served = serving(users=True)
    browser = served.browser()
    first = browser.client.get("/sign-in").headers["set-cookie"]
    assert "HttpOnly" in first and "SameSite=strict" in first
    before = browser.client.cookies["em"]
    browser.sign_in("Rita", "reader-password")
    after = browser.client.cookies["em"]
    assert after != before
    browser.post("/sign-out")
    browser.client.cookies.set("em", after)
    assert (
        browser.client.get("/", headers={"Accept": "text/html"}).headers["location"] == "/sign-in"
    )


def test_a_certificate_makes_cookies_secure(serving: Serving, tmp_path: Path) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x")
    served = serving(certificate=tmp_path / "c.pem", key=tmp_path / "k.pem")
    cookie = served.client().get("/").headers["set-cookie"]
    assert cookie.startswith("__Host-em=") and "Secure" in cookie and "Path=/" in cookie


def test_a_shut_out_user_is_out_at_once(serving: Serving) -> None:
    served = serving(users=True)
    rita, ada = served.browser("Rita"), served.browser("Ada")
    assert rita.get("/").status_code == 200
    ada.post("/users/change", name="Rita", disabled="yes")
    assert rita.client.get("/").status_code == 401
    rita.post("/sign-in", 403, name="Rita", password="reader-password")
    ada.post("/users/change", 409, name="Ada", disabled="yes")
    ada.post("/users/change", 409, name="Ada", role="reader")
    ada.post("/users/change", name="Rita", disabled="no", password="another-password")
    rita.sign_in("Rita", "another-password")


def test_passwords_are_kept_as_argon2id_and_nowhere_else(serving: Serving, tmp_path: Path) -> None:
    served = serving(users=True)
    served.browser("Rita")
    with served.clinic.store.use() as connection:
        rows = connection.execute("SELECT password_hash FROM users").fetchall()
    assert all(row[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$") for row in rows)
    files = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert files
    assert not any(b"reader-password" in data for data in files)


def test_sessions_end(tmp_path: Path) -> None:
    now = [1000.0]
    store = Store(tmp_path)
    sessions = Sessions(store, lambda: now[0])
    one = sessions.start("Rita")
    assert sessions.find(one.token) == one
    assert sessions.find(one.token + "x") is None
    now[0] += IDLE_S + 1
    assert sessions.find(one.token) is None
    two = sessions.start("Rita")
    end = now[0] + SESSION_S
    while now[0] < end:
        assert sessions.find(two.token) is not None
        now[0] += IDLE_S / 2 + 1
    assert sessions.find(two.token) is None
    store.close()


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
