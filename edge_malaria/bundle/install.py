"""Bundles on a device: two or more lie side by side, one is active, and going back is one step.

    STORE/bundles/<id>/      whole bundles, the id is the start of bundle.json's SHA-256
    STORE/bundles/<id>.sig   their signatures, where they have some
    STORE/trusted/*.pub      keys whose signatures count
    STORE/active.json        which one is active, and which was before it

A bundle is copied beside the others, verified there, and renamed into place: a power cut leaves the
old one active or the new one, never a half. Before a bundle becomes active its stored cells are run
on this very machine; one that answers otherwise than where it was exported is refused.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_malaria.bundle.contents import INDEX, read_contents
from edge_malaria.bundle.format import verified
from edge_malaria.bundle.index import parse_index
from edge_malaria.bundle.selftest import run_selftest
from edge_malaria.bundle.signing import check_signature, signature_path
from edge_malaria.bundle.spec import Bundle, sha256_hex
from edge_malaria.errors import (
    BundleIntegrityError,
    BundleSchemaError,
    GateFailed,
    UsageError,
)
from edge_malaria.files import new_directory, write_bytes, write_json

ID_LENGTH = 16
ACTIVE = "active.json"
DAMAGED = "(damaged)"


@dataclass(frozen=True)
class Installed:
    """One bundle of a store.

    Attributes:
        id: the first 16 hexadecimal digits of its bundle.json's SHA-256.
        name, version: the model's.
        path: its directory.
        signed: whether a signature lies beside it.
        active, previous: what it is now.
    """

    id: str
    name: str
    version: str
    path: Path
    signed: bool
    active: bool
    previous: bool

    def as_json(self) -> dict[str, Any]:
        """The object in ``bundle list --json``; paths are relative to the store."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "signed": self.signed,
            "active": self.active,
            "previous": self.previous,
        }


def default_store() -> Path:
    """``EDGE_MALARIA_HOME``, else ``edge-malaria`` in the user's data folder."""
    given = os.environ.get("EDGE_MALARIA_HOME")
    if given:
        return Path(given)
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "edge-malaria"


class BundleStore:
    """The bundles of one device.

    Args:
        root: the store's directory; made on the first installation.
        require_signature: refuse bundles that no trusted key signed.
    """

    def __init__(self, root: Path, *, require_signature: bool = False) -> None:
        self.root, self.require_signature = root, require_signature

    @property
    def _bundles(self) -> Path:
        return self.root / "bundles"

    def install(self, source: Path) -> Installed:
        """Copies a bundle (directory or zip) into the store, verified; does not activate it.

        One that is there already is verified again and left as it is.

        Raises:
            BundleIntegrityError, BundleSchemaError: see ``read_bundle``; or the signature is
                missing, does not hold, or is by a key that is not trusted.
        """
        contents = read_contents(source)
        verified(source, contents)
        index = contents[INDEX]
        signature = signature_path(source)
        self._check_signature(signature, index)
        ident = sha256_hex(index)[:ID_LENGTH]
        target = self._bundles / ident
        if not target.is_dir():
            self._bundles.mkdir(parents=True, exist_ok=True)
            with new_directory(target) as folder:
                # The very bytes that were verified.
                for name, data in contents.items():
                    write_bytes(folder / name, data)
        if signature.is_file():
            write_bytes(signature_path(target), signature.read_bytes())
        return self._installed(target)

    def all(self) -> list[Installed]:
        """What is installed, by name and id."""
        if not self._bundles.is_dir():
            return []
        # A name with a dot is a copy that a power cut left behind: it was never whole.
        folders = [p for p in self._bundles.iterdir() if p.is_dir() and "." not in p.name]
        return sorted(map(self._installed, folders), key=lambda one: (one.name, one.id))

    def activate(self, which: str) -> Installed:
        """Makes a bundle the active one, after its stored cells gave their outputs here.

        Args:
            which: an id or its beginning, or the name of a model that is installed once.

        Raises:
            UsageError: none or several of that name.
            GateFailed: its stored cells give other outputs on this machine.
        """
        chosen = self._find(which)
        self._check(chosen)
        now = self._state().get("active")
        if now != chosen.id:
            self._write(chosen.id, now)
        return self._installed(chosen.path)

    def rollback(self) -> Installed:
        """Makes the bundle active again that was active before.

        Raises:
            UsageError: there was none, or it is no longer installed.
        """
        state = self._state()
        before = state.get("previous")
        if not before:
            raise UsageError(f"{self.root}: no bundle was active before this one.")
        chosen = self._find(before)
        self._check(chosen)
        self._write(chosen.id, state.get("active"))
        return self._installed(chosen.path)

    def active(self) -> Bundle:
        """The active bundle, verified.

        Raises:
            UsageError: none is active.
            BundleIntegrityError: it is gone or was changed.
        """
        ident = self._state().get("active")
        if not ident:
            raise UsageError(
                f"{self.root}: no bundle is active. Install one with: "
                "edge-malaria bundle install BUNDLE --activate"
            )
        path = self._bundles / ident
        if not path.is_dir():
            raise BundleIntegrityError(f"{path}, the active bundle, is gone. Install it again.")
        return self._opened(path)

    def _opened(self, path: Path) -> Bundle:
        """An installed bundle: verified, the one that was installed, and signed where asked for."""
        contents = read_contents(path)
        bundle = verified(path, contents)
        index = contents[INDEX]
        if sha256_hex(index)[:ID_LENGTH] != path.name:
            raise BundleIntegrityError(f"{path} was changed. Install the bundle again.")
        self._check_signature(signature_path(path), index)
        return bundle

    def _check(self, chosen: Installed) -> None:
        result = run_selftest(self._opened(chosen.path))
        if not result.passed:
            raise GateFailed(
                f"{chosen.name} {chosen.id} does not answer here as where it was exported: "
                f"{'; '.join(result.failures) or 'nothing could be compared'}. It stays inactive."
            )

    def _check_signature(self, signature: Path, index: bytes) -> None:
        if not self.require_signature:
            return
        check_signature(signature, index, sorted((self.root / "trusted").glob("*.pub")))

    def _find(self, which: str) -> Installed:
        found = [one for one in self.all() if one.id.startswith(which) or one.name == which]
        if len(found) == 1:
            return found[0]
        have = ", ".join(f"{one.id} ({one.name})" for one in self.all()) or "none"
        words = "no bundle" if not found else f"{len(found)} bundles"
        raise UsageError(f"{words} named {which!r} in {self.root}: installed are {have}.")

    def _installed(self, path: Path) -> Installed:
        try:
            record = dict(parse_index((path / INDEX).read_bytes()))
        except (OSError, ValueError, TypeError):
            # Named in the list; nothing can activate it, and it keeps nobody from the others.
            record = {"name": DAMAGED, "version": ""}
        state = self._state()
        return Installed(
            id=path.name,
            name=str(record.get("name")),
            version=str(record.get("version")),
            path=path,
            signed=signature_path(path).is_file(),
            active=state.get("active") == path.name,
            previous=state.get("previous") == path.name,
        )

    def _state(self) -> dict[str, str]:
        try:
            found = dict(json.loads((self.root / ACTIVE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise BundleIntegrityError(f"{self.root / ACTIVE} is damaged: {error}.") from error
        names = ("active", "previous")
        return {name: str(found[name]) for name in names if isinstance(found.get(name), str)}

    def _write(self, active: str, previous: str | None) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        document = {"schema_version": 1, "active": active, "previous": previous, "at": at}
        write_json(self.root / ACTIVE, document)


def index_bytes(path: Path) -> bytes:
    """The bytes of a bundle's bundle.json, from a directory or a zip; see ``read_contents``.

    Raises:
        BundleSchemaError: it has none.
    """
    contents = read_contents(path)
    if INDEX not in contents:
        raise BundleSchemaError(f"{path} is not a bundle: it has no {INDEX}.")
    return contents[INDEX]
