"""What systemd wants to hear: ready, alive, stopping (sd_notify(3), over its datagram socket)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def tell(message: str, environment: Mapping[str, str] | None = None) -> bool:
    """Sends one message, such as ``READY=1``; whether somebody listens.

    Args:
        message: see sd_notify(3).
        environment: where NOTIFY_SOCKET is looked up.
    """
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    # A leading @ names an abstract socket.
    where = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(message.encode(), where)
        except OSError:
            return False
    return True


def watchdog_s(environment: Mapping[str, str] | None = None) -> float | None:
    """How often at least systemd wants a sign of life, seconds; None where it asks for none."""
    values = os.environ if environment is None else environment
    text = values.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or values.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1e6
