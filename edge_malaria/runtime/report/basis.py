"""What a report rests on beside the fields: the run, the errors, the rules; kept in the journal.

The journal's ``report`` line carries it, so that a report can be written anew, after a person's
review or a power cut, without the bundle and the call that made it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_malaria.errors import DataError, UsageError
from edge_malaria.runtime.slide.counts import VerdictRules
from edge_malaria.runtime.slide.expected_errors import SlideErrors
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import SlideLine

LINE = "report"


@dataclass(frozen=True)
class ReportFacts:
    """What the report says of the run itself.

    Attributes:
        source: as the user named it.
        model, version, variant, engine, finder: what ran.
        model_sha256: of what decides (``Bundle.deciding_sha256``).
        threshold: the screening threshold.
        flagged_from: the balanced threshold, from which on a cell is flagged; above 1 none is.
        warnings: what the user should know.
    """

    source: str
    model: str
    version: str
    variant: str
    engine: str
    finder: str
    model_sha256: str
    threshold: float
    flagged_from: float = 2.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReportBasis:
    """All that a report needs beside the fields' and readers' lines.

    Attributes:
        facts: of the run.
        errors: that the verdict rests on.
        rules: of the verdict.
        rbc_per_ul: red cells per microlitre of blood.
        settings: of the run, for the record.
    """

    facts: ReportFacts
    errors: SlideErrors
    rules: VerdictRules
    rbc_per_ul: float
    settings: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; ``from_json`` is the inverse."""
        return {
            "facts": {**dataclasses.asdict(self.facts), "warnings": list(self.facts.warnings)},
            "errors": self.errors.as_json(),
            "rules": dataclasses.asdict(self.rules),
            "rbc_per_ul": self.rbc_per_ul,
            "settings": dict(self.settings),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ReportBasis:
        """The inverse of ``as_json``."""
        facts = {**value["facts"], "warnings": tuple(value["facts"]["warnings"])}
        return cls(
            ReportFacts(**facts),
            SlideErrors.from_json(value["errors"]),
            VerdictRules(**value["rules"]),
            float(value["rbc_per_ul"]),
            value["settings"],
        )


def keep_basis(journal: Journal, basis: ReportBasis, *, grown: bool = True) -> None:
    """Writes the basis into the journal unless its latest one says the same.

    Args:
        journal: of the slide.
        basis: of its report.
        grown: whether fields came to it; if none did, other warnings alone are no reason to touch
            it (a camera that did not open again).
    """
    found, wanted = journal.facts().get(LINE), basis.as_json()
    if not grown and isinstance(found, dict) and _but_warnings(found) == _but_warnings(wanted):
        return
    if found != wanted:
        journal.append(SlideLine(LINE, wanted))


def _but_warnings(value: Mapping[str, Any]) -> dict[str, Any]:
    facts = {k: v for k, v in value.get("facts", {}).items() if k != "warnings"}
    return {**value, "facts": facts}


def kept_basis(journal: Journal) -> ReportBasis:
    """The basis that a journal holds.

    Raises:
        UsageError: the slide was interrupted before its first report.
        DataError: the line is of another version.
    """
    found = journal.facts().get(LINE)
    if found is None:
        raise UsageError(
            f"{journal.path.parent} has no report yet: finish the slide with screen --resume."
        )
    try:
        return ReportBasis.from_json(found)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{journal.path}: its report line cannot be read ({error}). "
            "Write the report anew with screen --resume."
        ) from error
