"""Signatures of bundles: an Ed25519 key that is kept offline says which bundles a device may run.

The signed message names ``bundle.json`` by its SHA-256, and ``bundle.json`` names every other file
by its own. A signature lies beside the bundle as ``<bundle>.sig``: nothing is added to a bundle
after it was proven. Ed25519 is RFC 8032; the arithmetic is the ``cryptography`` package's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_malaria.bundle.spec import sha256_hex
from edge_malaria.errors import BundleIntegrityError, DataError, MissingExtra, OutputExists
from edge_malaria.files import write_bytes, write_json

SUFFIX = ".sig"
_MESSAGE = b"edge-malaria-bundle v1\n"


def signature_path(bundle: Path) -> Path:
    """Where the signature of a bundle lies: beside it."""
    return bundle.with_name(bundle.name + SUFFIX)


def new_key(private: Path) -> Path:
    """Writes a new private key (PEM, readable by its owner alone) and ``<private>.pub``.

    Returns:
        The public key's path.

    Raises:
        OutputExists: one of the files exists; a key is never replaced.
    """
    ed25519, serialization = _library()
    public = private.with_name(private.name + ".pub")
    for path in (private, public):
        if path.exists():
            raise OutputExists(f"{path} exists. A key is never replaced: choose another name.")
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_bytes(private, pem, mode=0o600)
    write_bytes(public, _public_text(key.public_key()).encode() + b"\n")
    return public


def sign(bundle: Path, index: bytes, private: Path) -> Path:
    """Signs a bundle.

    Args:
        bundle: its path; the signature is written beside it.
        index: the bytes of its bundle.json, which were verified with the rest.
        private: the PEM file of ``new_key``.

    Raises:
        DataError: not an Ed25519 private key.
    """
    ed25519, serialization = _library()
    try:
        key: Any = serialization.load_pem_private_key(private.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise DataError(f"{private} is not a private key without a password: {error}.") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise DataError(f"{private}: expected an Ed25519 key, got {type(key).__name__}.")
    digest = sha256_hex(index)
    path = signature_path(bundle)
    document = {
        "algorithm": "ed25519",
        "public_key": _public_text(key.public_key()),
        "bundle_sha256": digest,
        "signature": base64.b64encode(key.sign(_message(digest))).decode(),
    }
    write_json(path, document)
    return path


def check_signature(signature: Path, index: bytes, trusted: Iterable[Path]) -> str:
    """Checks a bundle's signature against the keys that this device trusts.

    Args:
        signature: the ``.sig`` file.
        index: the bytes of the bundle's bundle.json.
        trusted: ``.pub`` files.

    Returns:
        The public key that signed it.

    Raises:
        BundleIntegrityError: no signature, by a key that is not trusted, or not of this bundle.
    """
    keys = {_trusted_key(path) for path in trusted}
    try:
        document = json.loads(signature.read_text(encoding="utf-8"))
        public, digest = str(document["public_key"]), str(document["bundle_sha256"])
        raw = base64.b64decode(document["signature"], validate=True)
    except FileNotFoundError as error:
        raise BundleIntegrityError(
            f"{signature} is missing: the bundle is not signed, and a signature is required."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleIntegrityError(f"{signature} is damaged: {error}.") from error
    if public not in keys:
        raise BundleIntegrityError(
            f"{signature}: signed by the key {public[:16]}…, which this device does not trust. "
            "Add its .pub file to the store's trusted folder if it should."
        )
    if digest != sha256_hex(index):
        raise BundleIntegrityError(f"{signature} belongs to another bundle than this one.")
    if not _holds(public, raw, _message(digest)):
        raise BundleIntegrityError(f"{signature} does not hold: the signature was not made by it.")
    return public


def _trusted_key(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise BundleIntegrityError(f"{path} is no key of new-key ({error}). Remove it.") from error


def _message(digest: str) -> bytes:
    return _MESSAGE + digest.encode("ascii")


def _holds(public: str, signature: bytes, message: bytes) -> bool:
    ed25519, _ = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_text(public: Any) -> str:
    return base64.b64encode(public.public_bytes_raw()).decode()


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtra("cryptography, for signatures,", "serve") from error
    return ed25519, serialization
