"""Odd requests to every address by every role, by schemathesis -> docs/evidence/http_fuzz.json.

    python -m benchmarks.serve.http_fuzz [--examples 60] [--seed 23]

The real ``serve`` process with users and one finished slide. Requests follow its own OpenAPI
document and break it. No answer may be a server's error, and no address may open to a role below
the one that it names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok

from benchmarks.evidence_file import write_evidence
from benchmarks.serve.served import Browser, process
from edge_malaria.runtime.serve.users import ROLES, Role, may

SEED = 23
SOURCE = "sim:parasitemia=0.06,fields=2,seed=3,width=480,height=360"
PASSWORD = "a-long-password"
# Asked last: it ends the session.
_LAST = "/sign-out"


@dataclass
class Found:
    """What the requests met.

    Attributes:
        requests: how many; statuses: by status.
        errors: server errors; opened: addresses that let in a role that they should not;
            shut: addresses that took somebody who signed in for a stranger.
    """

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    shut: list[str] = field(default_factory=list)


class Visitor:
    """One role's browser.

    Args:
        address: of the server.
        role: None for somebody who does not sign in.
    """

    def __init__(self, address: str, role: Role | None) -> None:
        self.role, self.address = role, address
        self.client = httpx.Client(base_url=address, timeout=120)
        self.browser = Browser(self.client)
        if role:
            self.browser.sign_in(role.title(), PASSWORD)
        self.token = self.browser.token("/")
        self.session = requests.Session()
        self.session.trust_env = False
        self.cookies = {cookie.name: cookie.value or "" for cookie in self.client.cookies.jar}


def fuzz(folder: Path, examples: int, seed: int) -> dict[str, Any]:
    """Asks everything by every role.

    Args:
        folder: an empty one.
        examples: requests an address, role and way of making them.
        seed: of the requests.
    """
    data = folder / "data"
    for role in ROLES:
        _add_user(data, role)
    with (
        process(data, "--source", SOURCE, log=folder / "log") as (running, address),
        ExitStack() as stack,
    ):
        visitors = [Visitor(address, role) for role in (None, *ROLES)]
        for visitor in visitors:
            stack.callback(visitor.client.close)
            stack.callback(visitor.session.close)
        slide = visitors[-1].browser.read_slide(sample="Z-1", source=SOURCE).rpartition("/")[2]
        document = visitors[1].client.get("/openapi.json").json()
        document["servers"] = [{"url": address}]
        found = {}
        for visitor in visitors:
            met = Found()
            for method, path in _addresses(document):
                _ask(document, (method, path), visitor, slide, examples, seed, met)
            found[visitor.role or "nobody"] = met
        alive = running.poll() is None and visitors[0].client.get("/healthz").status_code == 200
    log = (folder / "log").read_text(errors="replace")
    return {
        "addresses": sum(1 for _ in _addresses(document)),
        "requests": sum(met.requests for met in found.values()),
        "by_role": {role: _told(met) for role, met in found.items()},
        "tracebacks_in_the_log": log.count("Traceback"),
        "alive_at_the_end": alive,
    }


def _told(met: Found) -> dict[str, Any]:
    statuses = {str(code): met.statuses[code] for code in sorted(met.statuses)}
    return {
        "requests": met.requests,
        "statuses": statuses,
        "server_errors": met.errors,
        "opened_without_the_role": met.opened,
        "shut_to_their_role": met.shut,
    }


def _addresses(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    paths = sorted(document["paths"], key=lambda path: (path == _LAST, path))
    for path in paths:
        for method in document["paths"][path]:
            yield method, path


def _add_user(data: Path, role: str) -> None:
    command = ["-m", "edge_malaria.cli.app", "users", "add", role.title(), "--role", role]
    subprocess.run(
        [sys.executable, *command, "--data", str(data)],
        input=f"{PASSWORD}\n".encode(),
        check=True,
        capture_output=True,
        env={**os.environ, "EDGE_MALARIA_FORGETFUL_DISK": "1"},
    )


def _ask(
    document: dict[str, Any],
    place: tuple[str, str],
    visitor: Visitor,
    slide: str,
    examples: int,
    seed: int,
    met: Found,
) -> None:
    """One address by one role: requests that follow the document, then ones that break it."""
    method, path = place
    one = {**document, "paths": {path: {method: document["paths"][path][method]}}}
    schema = schemathesis.openapi.from_dict(one)
    (operation,) = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    role = document["paths"][path][method]["x-role"] or None
    allowed = may(visitor.role, role)
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode is GenerationMode.NEGATIVE and not (
            operation.body or operation.query or operation.path_parameters
        ):
            continue

        @seeded(seed)
        @settings(
            max_examples=examples,
            suppress_health_check=list(HealthCheck),
            database=None,
            deadline=None,
        )
        @given(case=operation.as_strategy(mode), known=st.booleans(), token=st.integers(0, 3))
        def ask(case: Case[Any], known: bool, token: int) -> None:
            if known and "slide" in (case.path_parameters or {}):
                case.path_parameters["slide"] = slide
            if token and isinstance(case.body, dict):
                case.body["csrf"] = visitor.token
            _note(case, visitor, allowed, met)

        try:
            ask()
        except Unsatisfiable:
            # No request of this shape breaks the document: any text is a path's part.
            if mode is GenerationMode.POSITIVE:
                raise


def _note(case: Case[Any], visitor: Visitor, allowed: bool, met: Found) -> None:
    answer = case.call(
        visitor.address,
        session=visitor.session,
        cookies=visitor.cookies,
        allow_redirects=False,
        timeout=120,
    )
    status = answer.status_code
    met.requests += 1
    met.statuses[status] += 1
    where = f"{case.method} {case.path} {status}"
    if status >= 500:
        met.errors.append(f"{where}: {case.as_curl_command()[:500]}")
    leads = "".join(answer.headers.get("location", []))
    shut = status in (401, 403, 404, 405) or (status == 303 and leads == "/sign-in")
    # What is no request at all is refused before anybody's role is looked at.
    if allowed and visitor.role and status == 401 and case.path != _LAST:
        met.shut.append(f"{visitor.role}: {where}")
    if not allowed and not shut and status != 400:
        met.opened.append(f"{visitor.role or 'nobody'}: {where}")


def passed(figures: dict[str, Any]) -> bool:
    """Whether no answer was a server's error and nothing opened to the wrong role."""
    sound = all(
        met["requests"] > 0
        and not met["server_errors"]
        and not met["opened_without_the_role"]
        and not met["shut_to_their_role"]
        for met in figures["by_role"].values()
    )
    return sound and figures["alive_at_the_end"] and figures["tracebacks_in_the_log"] == 0


def main() -> int:
    """Measures and writes the evidence; 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = fuzz(Path(folder), options.examples, options.seed)
    print(json.dumps(figures, indent=1))
    if not options.dry:
        command = f"python -m benchmarks.serve.http_fuzz --examples {options.examples}"
        write_evidence("http_fuzz", command, {"passed": passed(figures), **figures}, options.seed)
    return 0 if passed(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
