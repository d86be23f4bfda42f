"""Sessions of browsers, in the database: they survive a power cut."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_malaria.runtime.serve.store import Store

SESSION_S = 12 * 3600.0
IDLE_S = 2 * 3600.0


@dataclass(frozen=True)
class Session:
    """A browser: one that signed in, or one that came by, of which nothing is kept.

    Attributes:
        token: what the browser's cookie holds; only its hash is kept.
        user: the user's name, "" for nobody.
    """

    token: str
    user: str = ""

    @property
    def csrf(self) -> str:
        """What a form of this session must carry."""
        return hashlib.sha256(b"csrf " + self.token.encode()).hexdigest()


class Sessions:
    """Sessions in the database: they survive a power cut.

    Args:
        store: the database.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock

    def start(self, user: str) -> Session:
        """A new session; old ones are cleared away."""
        session, now = Session(new_token(), user), self._clock()
        with self._store.use() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE seen_s < ? OR created_s < ?",
                (now - IDLE_S, now - SESSION_S),
            )
            connection.execute(
                "INSERT INTO sessions (token_sha256, user, created_s, seen_s) VALUES (?, ?, ?, ?)",
                (_digest(session.token), user, now, now),
            )
        return session

    def find(self, token: str) -> Session | None:
        """The session of a cookie; None where it is unknown or too old."""
        if not token:
            return None
        now, key = self._clock(), _digest(token)
        with self._store.use() as connection:
            row = connection.execute(
                "SELECT * FROM sessions WHERE token_sha256 = ?", (key,)
            ).fetchone()
            if row is None or now - row["seen_s"] > IDLE_S or now - row["created_s"] > SESSION_S:
                return None
            # Not each request: every write waits for the disk.
            if now - row["seen_s"] > 60:
                connection.execute(
                    "UPDATE sessions SET seen_s = ? WHERE token_sha256 = ?", (now, key)
                )
        return Session(token, row["user"])

    def end(self, session: Session) -> None:
        """Forgets a session."""
        with self._store.use() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE token_sha256 = ?", (_digest(session.token),)
            )


def new_token() -> str:
    """A secret that nobody guesses."""
    return secrets.token_urlsafe(32)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
