"""For programs: is it well, its numbers, its style and script."""

from __future__ import annotations

from functools import cache
from importlib import resources
from ipaddress import ip_address

from starlette.responses import JSONResponse, PlainTextResponse, Response

from edge_malaria.runtime.serve.visit import Visit

_KINDS = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def health(visit: Visit) -> Response:
    """200 where all is well; 503 where the running slide stands still or the database fails."""
    clinic = visit.clinic
    with clinic.store.use() as connection:
        connection.execute("SELECT 1").fetchone()
    stuck = clinic.desk.stuck
    status = "stuck" if stuck else "ok"
    return JSONResponse({"status": status}, 503 if stuck else 200)


def metrics(visit: Visit) -> Response:
    """Numbers for Prometheus: to this machine itself, or to a supervisor."""
    client = visit.request.client
    here = client is not None and _loopback(client.host)
    # What comes through a proxy on this machine comes from elsewhere.
    forwarded = "x-forwarded-for" in visit.request.headers or "forwarded" in visit.request.headers
    if not (here and not forwarded) and not visit.may("supervisor"):
        return PlainTextResponse("not without signing in", 401)
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(visit.clinic.metrics.text(), headers={"Content-Type": kind})


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def asset(visit: Visit) -> Response:
    """The pages' style, script and icon."""
    name = str(visit.request.path_params["name"])
    if name not in _KINDS:
        return PlainTextResponse("not here", 404)
    kept = {"Cache-Control": "public, max-age=3600", "Content-Type": _KINDS[name]}
    return Response(_bytes(name), headers=kept)


@cache
def _bytes(name: str) -> bytes:
    return resources.files("edge_malaria.runtime.serve").joinpath("static", name).read_bytes()
