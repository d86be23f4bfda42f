"""One request to a server of results: who asks, how long it may take, what went wrong in words."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx2 as httpx

from edge_malaria import __version__
from edge_malaria.runtime.push.parcel import NotSent
from edge_malaria.runtime.push.targets import Dhis2Target, FhirTarget

# What a server says of one result is far smaller.
_MOST_ANSWER_BYTES = 4_000_000
_MOST_WORDS = 300


def secret(path: str) -> str:
    """The first line of a secret's file.

    Raises:
        NotSent: it cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotSent(f"cannot read {path}: {error}.") from error
    return lines[0].strip() if lines else ""


def post(
    target: FhirTarget | Dhis2Target,
    path: str,
    document: dict[str, Any],
    kind: str,
    scheme: str,
) -> tuple[int, Any]:
    """Posts one JSON document.

    Args:
        target: where to.
        path: below the target's address, "" for the address itself.
        document: JSON-able.
        kind: the content type of both sides.
        scheme: what stands before a token in the Authorization header.

    Returns:
        The status and the answer's JSON, None where it is none.

    Raises:
        NotSent: the server cannot be reached, does not know this device, or is not well.
    """
    headers = {"Content-Type": kind, "Accept": kind, "User-Agent": f"edge-malaria/{__version__}"}
    login = None
    if target.token_file:
        headers["Authorization"] = f"{scheme} {secret(target.token_file)}"
    elif target.user:
        login = httpx.BasicAuth(target.user, secret(target.password_file))
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    try:
        trust: ssl.SSLContext | bool = True
        if target.ca_file:
            trust = ssl.create_default_context(cafile=target.ca_file)
        # No proxy or .netrc of the surroundings decides where results go.
        with httpx.Client(verify=trust, timeout=target.timeout_s, trust_env=False) as client:
            address = target.url.rstrip("/") + path
            with client.stream("POST", address, content=body, headers=headers, auth=login) as got:
                status, data = got.status_code, _body(got)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise NotSent(f"{target.url}: {_words(error)}", unreachable=True) from error
    if status in (401, 403):
        raise NotSent(f"{target.url} does not let this device in ({status}).", unreachable=True)
    if status == 429 or status >= 500:
        raise NotSent(f"{target.url} is not well ({status}).", unreachable=True)
    return status, data


def _body(got: httpx.Response) -> Any:
    data = b""
    for chunk in got.iter_bytes():
        data += chunk
        if len(data) > _MOST_ANSWER_BYTES:
            return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MOST_WORDS]


def cut(document: Any) -> str:
    """What a server said, short."""
    return json.dumps(document, ensure_ascii=False)[:_MOST_WORDS]
