"""Whether a slide is signed, by its journal: nothing about it changes from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The name of the journal's fact that says whose slide it is, in what state, and who signed it.
SAMPLE_FACT = "sample"
SIGNED = "signed"


@dataclass(frozen=True)
class Signature:
    """Who signed a slide, and when.

    Attributes:
        by: a person's name.
        at: ISO date and time by this machine's clock.
    """

    by: str
    at: str


def signature_of(facts: Mapping[str, Any]) -> Signature | None:
    """The signature that a journal's facts hold; None where the slide is not signed."""
    sample = facts.get(SAMPLE_FACT)
    if not isinstance(sample, dict) or sample.get("state") != SIGNED:
        return None
    return Signature(str(sample.get("signed_by", "")), str(sample.get("signed_at", "")))
