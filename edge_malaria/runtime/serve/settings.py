"""What the server is told when it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from edge_malaria.errors import UsageError
from edge_malaria.records import expect
from edge_malaria.runtime.push.targets import PushSettings
from edge_malaria.runtime.screen.config import ScreenConfig

UPLOADS = "upload"
SITES = "sites"
MOST_UPLOAD_BYTES = 60_000_000


@dataclass(frozen=True)
class ServeSettings:
    """The server's settings.

    Attributes:
        data: the device's data folder: the database, slides, uploads, site profiles.
        host, port: the address; port 0 takes a free one.
        sources: what slides may be read from (``camera:0``, ``picamera``, ``sim:...``, a folder),
            the usual one first; pictures from a phone are always possible.
        config: of the screening.
        variant, engine, threads: of the bundle's networks; engine None takes the usual one.
        certificate, key: PEM files for TLS; None serves without.
        upload_bytes: the largest request, bytes.
        push: where signed results are sent by themselves; None sends nothing.
        stall_s: a running slide from which nothing was heard for so long is stuck.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8765
    sources: tuple[str, ...] = ()
    config: ScreenConfig = field(default_factory=ScreenConfig)
    variant: str = "int8"
    engine: str | None = None
    threads: int = 1
    certificate: Path | None = None
    key: Path | None = None
    upload_bytes: int = MOST_UPLOAD_BYTES
    stall_s: float = 60.0
    push: PushSettings | None = None

    def __post_init__(self) -> None:
        expect(0 <= self.port <= 65535, "a port from 0 to 65535", self.port)
        expect(self.upload_bytes > 0, "upload_bytes > 0", self.upload_bytes)
        expect(self.stall_s > 0, "stall_s > 0", self.stall_s)

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of where signed results are sent."""
        return tuple(target.name for target in self.push.targets) if self.push else ()

    @property
    def local(self) -> bool:
        """Whether only this machine itself can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.certificate is not None

    @property
    def choices(self) -> tuple[str, ...]:
        """The sources that a new slide may name."""
        return (*self.sources, UPLOADS)

    def check(self, *, users: bool) -> None:
        """Refuses a start that would let strangers in.

        Args:
            users: whether the device knows any user.

        Raises:
            UsageError: another address without users, or half of a certificate.
        """
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--tls-certificate and --tls-key belong together: give both.")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise UsageError(f"{path} does not exist: expected a PEM file.")
        if not self.local and not users:
            raise UsageError(
                f"--host {self.host} can be reached by others, and this device knows no user. "
                f"First: edge-malaria users add NAME --role admin --data {self.data}"
            )
