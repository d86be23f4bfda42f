"""The application and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_malaria.errors import EnvironmentProblem
from edge_malaria.runtime.serve.clinic import Clinic
from edge_malaria.runtime.serve.doors import endpoint
from edge_malaria.runtime.serve.headers import SecurityHeaders
from edge_malaria.runtime.serve.routes import DOORS
from edge_malaria.runtime.serve.systemd import tell, watchdog_s

LOG = logging.getLogger("edge_malaria.serve")
_HEADER_TIMEOUT_S = 10
_MOST_CONNECTIONS = 100


class _Counted:
    """Counts answers by status for /metrics."""

    def __init__(self, app: ASGIApp, clinic: Clinic) -> None:
        self._app, self._clinic = app, clinic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._clinic.metrics.answered(int(message["status"]))
            await send(message)

        await self._app(scope, receive, sending)


def application(clinic: Clinic) -> ASGIApp:
    """The ASGI application; it closes the clinic when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        alive = asyncio.create_task(_alive(clinic))
        clinic.pushing.start()
        try:
            yield
        finally:
            tell("STOPPING=1")
            alive.cancel()
            await asyncio.to_thread(clinic.close)

    async def crashed(request: Request, error: Exception) -> Response:
        LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return PlainTextResponse("This did not work. The log says why.", 500)

    routes = [Route(door.path, endpoint(clinic, door), methods=[door.method]) for door in DOORS]
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Exception: crashed})
    return SecurityHeaders(_Counted(inner, clinic))


async def _alive(clinic: Clinic) -> None:
    """Tells systemd that the server is well, as long as frames come where they should."""
    every_s = watchdog_s()
    while every_s is not None:
        if not clinic.desk.stuck:
            tell("WATCHDOG=1")
        await asyncio.sleep(every_s / 2)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        EnvironmentProblem: the address is in use, or not this machine's.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family)
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another --port."
        ) from error


class Server(uvicorn.Server):
    """Tells systemd when it listens; stops on SIGTERM and Ctrl-C with the slide paused.

    Args:
        clinic: what it serves.
    """

    def __init__(self, clinic: Clinic) -> None:
        settings = clinic.settings
        config = uvicorn.Config(
            application(clinic),
            host=settings.host,
            port=settings.port,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
            # Who comes is who connects: no header of a stranger is believed.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            access_log=False,
            log_config=None,
            timeout_keep_alive=_HEADER_TIMEOUT_S,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=5,
            ws="none",
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            tell("READY=1")
            LOG.info("%s   (Ctrl-C ends; a running slide is paused)", self._address(sockets or []))

    def _address(self, sockets: list[socket.socket]) -> str:
        """Where the pages are, for the person who started it."""
        host = self.config.host
        host = f"[{host}]" if ":" in host else host
        port = sockets[0].getsockname()[1] if sockets else self.config.port
        return f"{'https' if self.config.is_ssl else 'http'}://{host}:{port}/"
