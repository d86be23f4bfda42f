"""The measurement of odd requests in short: a few to every address by every role."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the pages need the [serve] extra")
pytest.importorskip("schemathesis")

from benchmarks.serve.http_fuzz import fuzz, passed
from edge_malaria.runtime.serve.routes import DOORS

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_no_odd_request_is_a_server_s_error_or_opens_a_door(tmp_path: Path) -> None:
    figures = fuzz(tmp_path, examples=2, seed=5)
    assert figures["addresses"] == len(DOORS)
    assert passed(figures), figures
    roles = figures["by_role"]
    assert set(roles) == {"nobody", "reader", "supervisor", "admin"}
    # Each role gets further than the one before: the requests carry their sessions.
    entered = [
        sum(n for code, n in roles[name]["statuses"].items() if code not in ("401", "403"))
        for name in ("nobody", "reader", "admin")
    ]
    assert entered[0] < entered[1] < entered[2]
    worse = copy.deepcopy(figures)
    worse["by_role"]["reader"]["opened_without_the_role"].append("GET /users 200")
    assert not passed(worse)
