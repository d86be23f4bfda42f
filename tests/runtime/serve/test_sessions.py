"""Signing in: guessing, cookies, passwords, and when a session ends."""

from __future__ import annotations

from pathlib import Path

from edge_malaria.runtime.serve.sessions import IDLE_S, SESSION_S, Sessions
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.serve.throttle import Throttle
from tests.runtime.serve.conftest import Serving


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
