"""A certificate that the device makes for itself: nobody on the network reads along.

Browsers warn of it once, as nobody they know vouches for it: the person compares the fingerprint.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_malaria.errors import DataError
from edge_malaria.files import storage_errors, write_bytes

FOLDER, PEM, KEY = "tls", "device.pem", "device.key"
# Browsers take a certificate of at most 825 days, however it came to be trusted (Apple, 2019).
_DAYS = 820
_RENEW_DAYS = 30


def own_certificate(data: Path, host: str) -> tuple[Path, Path]:
    """The device's certificate and key; made anew where there is none, or it soon ends.

    Args:
        data: the data folder; they lie in ``tls`` below it.
        host: the address that is listened on.

    Raises:
        DataError: the one that is there cannot be read.
        StorageError: disk full or not writable.
    """
    folder = data / FOLDER
    pem, key = folder / PEM, folder / KEY
    if not (pem.is_file() and key.is_file() and _days_left(pem) > _RENEW_DAYS):
        _make(folder, host)
    return pem, key


def fingerprint(pem: Path) -> str:
    """SHA-256 of a certificate as browsers show it.

    Raises:
        DataError: it cannot be read.
    """
    return _read(pem).fingerprint(hashes.SHA256()).hex(":").upper()


def _read(pem: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{pem} is no certificate: {error}. Delete it: a new one is made."
        ) from error


def _days_left(pem: Path) -> float:
    return (_read(pem).not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)


def _make(folder: Path, host: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "edge-malaria")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A board without a clock's battery may start in the past.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    write_bytes(folder / KEY, private)
    with storage_errors(folder):
        os.chmod(folder / KEY, 0o600)
    write_bytes(folder / PEM, made.public_bytes(serialization.Encoding.PEM))


def _names(host: str) -> list[x509.GeneralName]:
    """The names under which phones may come: this machine's, with .local, and its addresses."""
    own = socket.gethostname()
    names: list[x509.GeneralName] = [
        x509.DNSName(name) for name in dict.fromkeys((own, f"{own}.local", "localhost"))
    ]
    addresses = {"127.0.0.1"}
    # A machine's own name may lead nowhere.
    with suppress(OSError):
        addresses |= {str(row[4][0]) for row in socket.getaddrinfo(own, None)}
    for text in sorted(addresses | {host}):
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if not address.is_unspecified:
            names.append(x509.IPAddress(address))
    return names
