"""What is sent of one signed slide, and the keys by which targets know it again."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_malaria.errors import EdgeMalariaError
from edge_malaria.records import RESEARCH_USE, SlideReport
from edge_malaria.runtime.store.slides import SlideEntry

# What DHIS2 and MQTT get, by name; a value that is not known is left out.
SUMMARY = (
    "key", "device", "slide", "sample", "created", "signed_at", "signed_by", "verdict", "basis",
    "cells_counted", "cells_positive", "cells_flagged", "parasitemia", "parasitemia_low",
    "parasitemia_high", "parasites_per_ul", "rbc_per_ul", "limit_of_detection_per_ul",
    "limit_of_detection_reviewed_per_ul", "model", "notice",
)  # fmt: skip
_LETTERS = string.ascii_letters
_LETTERS_AND_DIGITS = string.ascii_letters + string.digits


class NotSent(EdgeMalariaError):
    """A target did not take a result now.

    Args:
        message: why, for a person.
        unreachable: nothing can reach the target; others need not be tried now.
    """

    exit_code = 5

    def __init__(self, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.unreachable = unreachable


@dataclass(frozen=True)
class Parcel:
    """One signed slide.

    Attributes:
        device: the name of the device.
        entry: the worklist's line.
        report: as it was signed.
        fhir: the FHIR R4 Bundle as it was signed.
    """

    device: str
    entry: SlideEntry
    report: SlideReport
    fhir: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Names this result everywhere: the same for every try, another for another result."""
        told = f"{self.entry.id}\n{self.entry.signed_sha256}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    @property
    def uid(self) -> str:
        """The key as DHIS2 writes identifiers: a letter, then ten letters or digits."""
        number = int.from_bytes(hashlib.sha256(f"dhis2\n{self.key}".encode()).digest())
        number, first = divmod(number, len(_LETTERS))
        text = _LETTERS[first]
        for _ in range(10):
            number, place = divmod(number, len(_LETTERS_AND_DIGITS))
            text += _LETTERS_AND_DIGITS[place]
        return text

    def summary(self) -> dict[str, str | int | float]:
        """The result in a few values (``SUMMARY``); shares are 0-1."""
        entry, report = self.entry, self.report
        low, high = report.ci95 if report.ci95 is not None else (None, None)
        values: dict[str, str | int | float | None] = {
            "key": self.key,
            "device": self.device,
            "slide": entry.id,
            "sample": entry.sample,
            "created": entry.created,
            "signed_at": entry.signed_at,
            "signed_by": entry.signed_by,
            "verdict": report.verdict,
            "basis": report.basis,
            "cells_counted": report.cells_counted,
            "cells_positive": report.cells_positive,
            "cells_flagged": report.cells_flagged,
            "parasitemia": report.parasitemia,
            "parasitemia_low": low,
            "parasitemia_high": high,
            "parasites_per_ul": report.parasites_per_ul,
            "rbc_per_ul": report.rbc_per_ul,
            "limit_of_detection_per_ul": report.limit_of_detection_per_ul,
            "limit_of_detection_reviewed_per_ul": report.limit_of_detection_reviewed_per_ul,
            "model": f"{report.model} {report.variant} {report.engine}",
            "notice": RESEARCH_USE,
        }
        return {name: value for name, value in values.items() if value is not None}
