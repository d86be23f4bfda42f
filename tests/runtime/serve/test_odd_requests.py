"""Odd requests by every role: no answer is a server's error, nothing moves that should not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_malaria.runtime.serve.routes import DOORS
from tests.runtime.serve.conftest import ROLES, Served, Serving
from tests.runtime.serve.served import Browser

pytestmark = pytest.mark.slow

# Reading a slide takes seconds, and signing one out ends the round: they have tests of their own.
LEFT_OUT = ("/slides/{slide}/start", "/sign-out")
FIELDS = (
    "csrf", "sample", "reader", "source", "site", "blood", "value", "cell", "key", "decision",
    "agree", "password", "name", "role", "disabled", "language", "back",
)  # fmt: skip
ODD = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", "0", "-1", "9" * 5000, "nan", "inf", "1e400", "../../etc/passwd", "%s%n", "a\x00b",
         "\u0663", "<script>alert(1)</script>", "' OR 1=1 --", "{{7*7}}", "rbc", "parasite", "yes",
         "admin", "fr", "//x", "\u202e\ud7ff", "x" * 3000]
    ),
)  # fmt: skip


@pytest.fixture
def served(serving: Serving) -> Served:
    return serving(users=True, read=True)


@pytest.mark.parametrize("name", ["", *ROLES])
def test_no_odd_request_breaks_the_server(served: Served, name: str) -> None:
    browser, slide = served.browser(name), served.slide()
    before = served.clinic.desk.get(slide)
    token = browser.token("/")
    doors = [door for door in DOORS if door.path not in LEFT_OUT]

    @settings(max_examples=120, suppress_health_check=list(HealthCheck), database=None)
    @given(
        door=st.sampled_from(doors),
        number=st.sampled_from(["0", "1", "99", "-1", "9" * 5000, "\u0663", "x", "0.5"]),
        known=st.booleans(),
        query=st.dictionaries(st.sampled_from(["cell", "from", "before", "day"]), ODD, max_size=2),
        form=st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=6),
        headers=st.dictionaries(
            st.sampled_from(["Accept-Language", "Cookie", "Origin", "Sec-Fetch-Site", "Accept"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
            max_size=1,
        ),
    )
    def ask(door, number, known, query, form, headers) -> None:  # type: ignore[no-untyped-def]
        path = door.path.replace("{slide}", slide if known else "none").replace("{name}", "x")
        path = path.replace("{number}", number)
        if door.method == "GET":
            answer = browser.client.get(path, params=query, headers=headers)
        else:
            data = {"csrf": token, **form}
            answer = browser.client.post(path, params=query, data=data, headers=headers)
        assert answer.status_code < 500, (door, answer.text[-2000:])
        assert "<script>alert" not in answer.text

    ask()
    assert served.clinic.users.get("Ada") is not None
    after = served.clinic.desk.get(slide)
    assert (after.sample, after.state, after.cells_counted) == (
        before.sample, before.state, before.cells_counted,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: a\r\n\r\nx\r\n--a--"),
        ("multipart/form-data; boundary=a; charset=utf-7",
         b'--a\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n+2AA-\r\n--a--\r\n'),
        ("multipart/form-data; boundary=a; charset=none",
         b'--a\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n\xff\r\n--a--\r\n'),
        ("multipart/form-data; boundary=a",
         b'--a\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--a--\r\n'),
        ("application/json", b"{"),
        ("application/x-www-form-urlencoded", b"csrf=%ED%A0%80&=&&a"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(3000))),
        ("", b"\x00\xff"),
    ],
)  # fmt: skip
def test_odd_bodies_are_refused(served: Served, kind: str, body: bytes) -> None:
    browser = served.browser("Ada")
    for path in ("/new", "/sign-in", "/users/add", f"/slides/{served.slide()}/upload"):
        answer = browser.client.post(path, content=body, headers={"Content-Type": kind})
        assert answer.status_code in (400, 403, 413), (path, answer.status_code)


def test_odd_cookies_are_nobody(served: Served) -> None:
    for value in ("x", "x" * 50, "x" * 5000, '"', "=;", "%00" * 16):
        browser = Browser(served.client())
        answer = browser.client.get("/", headers={"Cookie": f"em={value}; em-reader=%ff%00"})
        assert answer.status_code == 401
