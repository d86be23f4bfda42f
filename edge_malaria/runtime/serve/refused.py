"""Refusals that a person reads: a message of the catalogues with its values."""

from __future__ import annotations

from edge_malaria.errors import UsageError


class Refused(UsageError):
    """What was asked for cannot be done now.

    Args:
        message: English, a message of the catalogues; values stand in it as ``%(name)s``.
        values: for it.
    """

    def __init__(self, message: str, **values: object) -> None:
        super().__init__(message % values if values else message)
        self.message, self.values = message, values


class NotHere(Refused):
    """There is no such thing on this device."""
