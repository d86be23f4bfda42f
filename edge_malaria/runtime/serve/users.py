"""Users with roles: names and hashed passwords (argon2id)."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast, get_args

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge_malaria.errors import UsageError
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.slide.review import reader_name

Role = Literal["reader", "supervisor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
LEAST_PASSWORD, MOST_PASSWORD = 10, 200
# OWASP Password Storage Cheat Sheet: argon2id with 19 MiB, two passes, one lane. More memory would
# not fit beside a running slide on a board with 512 MB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


@dataclass(frozen=True)
class User:
    """A user without the password's hash."""

    name: str
    role: Role
    created: str = ""
    disabled: bool = False


def may(role: Role | None, needed: Role | None) -> bool:
    """Whether ``role`` may do what asks for ``needed``; each role may what those before it may."""
    if needed is None:
        return True
    return role is not None and ROLES.index(role) >= ROLES.index(needed)


class Users:
    """The device's users."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Two hashes at once are enough: each takes 19 MiB.
        self._hashing = threading.Semaphore(2)
        self._nobody = _HASHER.hash(secrets.token_urlsafe(16))

    def any(self) -> bool:
        """Whether the device knows a user at all, disabled ones included."""
        with self._store.use() as connection:
            return connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None

    def all(self) -> list[User]:
        """Every user, by name."""
        with self._store.use() as connection:
            rows = connection.execute("SELECT * FROM users ORDER BY name").fetchall()
        return [_user(row) for row in rows]

    def get(self, name: str) -> User | None:
        """The user who may work on this device; None for unknown and disabled ones."""
        with self._store.use() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        return None if row is None or row["disabled"] else _user(row)

    def add(self, name: str, role: str, password: str) -> User:
        """Adds a user.

        Raises:
            UsageError: an impossible name, role or password, or there is such a user.
        """
        try:
            clean = reader_name(name)
        except ValueError as error:
            raise UsageError(f"no user was added: {error}.") from error
        made = _hashed(password)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self._store.use() as connection:
            try:
                connection.execute(
                    "INSERT INTO users (name, role, password_hash, created) VALUES (?, ?, ?, ?)",
                    (clean, _role(role), made, created),
                )
            except sqlite3.IntegrityError as error:
                raise UsageError(f"there is a user {clean} already.") from error
        return User(clean, _role(role), created)

    def change(
        self,
        name: str,
        *,
        role: str | None = None,
        password: str | None = None,
        disabled: bool | None = None,
    ) -> None:
        """Changes a user and ends their sessions; None leaves a thing as it is.

        Raises:
            UsageError: no such user, or the last admin would be gone.
        """
        with self._store.use() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise UsageError(f"no user {name!r} on this device.")
            new_role = _role(role) if role else row["role"]
            off = row["disabled"] if disabled is None else int(disabled)
            was_admin = row["role"] == "admin" and not row["disabled"]
            if was_admin and (new_role != "admin" or off) and self._admins(connection) < 2:
                raise UsageError(f"{name} is the last admin: name another one first.")
            hashed = _hashed(password) if password is not None else row["password_hash"]
            connection.execute(
                "UPDATE users SET role = ?, disabled = ?, password_hash = ? WHERE name = ?",
                (new_role, off, hashed, name),
            )
            connection.execute("DELETE FROM sessions WHERE user = ?", (name,))

    def _admins(self, connection: sqlite3.Connection) -> int:
        found = connection.execute(
            "SELECT count(*) FROM users WHERE role = 'admin' AND NOT disabled"
        )
        return int(found.fetchone()[0])

    def verify(self, name: str, password: str) -> User | None:
        """The user whose password this is; unknown names take as long as known ones."""
        with self._store.use() as connection:
            row = connection.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
        stored = self._nobody if row is None else row["password_hash"]
        with self._hashing:
            try:
                _HASHER.verify(stored, password[:MOST_PASSWORD])
            except (VerificationError, InvalidHashError):
                return None
        return None if row is None or row["disabled"] else _user(row)


def _user(row: sqlite3.Row) -> User:
    return User(row["name"], cast("Role", row["role"]), row["created"], bool(row["disabled"]))


def _role(role: str) -> Role:
    if role not in ROLES:
        raise UsageError(f"expected a role of {', '.join(ROLES)}, got {role!r}.")
    return role


def _hashed(password: str) -> str:
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        raise UsageError(
            f"expected a password of {LEAST_PASSWORD} to {MOST_PASSWORD} characters, "
            f"got {len(password)}."
        )
    return _HASHER.hash(password)
