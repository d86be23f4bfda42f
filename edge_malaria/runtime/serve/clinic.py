"""All that the server holds: slides, users, sessions, the audit trail, templates."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from edge_malaria import __version__
from edge_malaria.bundle.spec import Bundle
from edge_malaria.runtime.serve.audit import Audit
from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.metrics import Metrics
from edge_malaria.runtime.serve.pushing import Pushing
from edge_malaria.runtime.serve.sessions import Sessions
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.serve.throttle import Throttle
from edge_malaria.runtime.serve.users import Users

_YEAR_S = 365 * 24 * 3600


class Clinic:
    """One device's server.

    Args:
        settings: what it was told.
        bundle: that runs.

    Raises:
        UsageError: an address that others reach, and no users; see ``ServeSettings.check``.
        DataError, StorageError: the database cannot be opened.
    """

    def __init__(self, settings: ServeSettings, bundle: Bundle) -> None:
        self.settings = settings
        self.store = Store(settings.data)
        try:
            self.users = Users(self.store)
            settings.check(users=self.users.any())
            self.desk = Desk(self.store, bundle, settings)
            self.audit = Audit(self.store)
            self.pushing = Pushing(settings.push, self.store, self.desk, self.audit)
        except BaseException:
            self.store.close()
            raise
        self.sessions = Sessions(self.store)
        self.throttle = Throttle()
        self.session_cookie = "__Host-em" if settings.secure else "em"
        self._any_user = self.users.any()
        self.metrics = Metrics(self.desk, self.pushing)
        self.templates = Environment(
            loader=PackageLoader("edge_malaria.runtime.serve", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals["version"] = __version__

    @property
    def with_users(self) -> bool:
        """Whether persons sign in; once a user is there they always do."""
        # A first user may be added by the command line while the server runs.
        self._any_user = self._any_user or self.users.any()
        return self._any_user

    def own_host(self, request: Request) -> bool:
        """Whether a request to this machine alone names it: another name may be a trick."""
        server = request.scope.get("server")
        port = server[1] if server else self.settings.port
        names = ("127.0.0.1", "localhost", "[::1]")
        allowed = {f"{name}:{port}" for name in names} | (
            set(names) if port in (80, 443) else set()
        )
        return request.headers.get("host", "") in allowed

    def set_cookie(self, response: Response, name: str, value: str, *, keep: bool = False) -> None:
        """A cookie that no script and no other site gets."""
        response.set_cookie(
            name,
            value,
            max_age=_YEAR_S if keep else None,
            path="/",
            secure=self.settings.secure,
            httponly=True,
            samesite="strict",
        )

    def close(self) -> None:
        """Pauses what runs and closes everything."""
        self.pushing.close()
        self.desk.close()
        self.store.close()
