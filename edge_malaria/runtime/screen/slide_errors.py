"""What a slide is judged by: the errors that its bundle records, or those of its site."""

from __future__ import annotations

from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import UsageError
from edge_malaria.runtime.classify.classifier import Classifier
from edge_malaria.runtime.slide.error_record import ErrorRecord
from edge_malaria.runtime.slide.expected_errors import SlideErrors
from edge_malaria.runtime.slide.lines import HeaderLine
from edge_malaria.runtime.slide.site_profile import SiteProfile
from edge_malaria.runtime.slide.statistics import FalsePositiveFit


def bundle_errors(bundle: Bundle) -> ErrorRecord:
    """What the bundle records of its classifier's errors.

    A bundle without an error model (exported with a data set of the user's own) knows one
    laboratory by its counts at its two points.

    Raises:
        UsageError: the bundle has neither; no verdict is possible.
    """
    decision = bundle.classifier.decision
    if decision.error_model is not None:
        return ErrorRecord.from_json(decision.error_model)
    if decision.false_positives is None or "alpha" not in decision.false_positives:
        raise UsageError(
            f"{bundle.path} records no false-positive rate: no verdict is possible. "
            "Use a bundle exported with --data."
        )
    screening = bundle.classifier.threshold("screening")
    return ErrorRecord.of_fit(FalsePositiveFit.from_json(decision.false_positives), screening)


def slide_errors(bundle: Bundle, operating_point: str = "screening") -> SlideErrors:
    """What a slide of a laboratory of which nothing is known is judged by.

    Raises:
        UsageError: the bundle records no errors at ``operating_point``.
    """
    record = bundle_errors(bundle)
    threshold = bundle.classifier.threshold(operating_point)
    balanced = bundle.classifier.threshold("balanced")
    try:
        record.place(threshold)
    except ValueError as error:
        raise UsageError(
            f"{bundle.path} records no false-positive rate at {operating_point}: no verdict is "
            "possible. Use --operating-point screening."
        ) from error
    known = balanced if balanced in record.thresholds else None
    return record.errors(threshold, known)


def errors_and_flagging(
    bundle: Bundle, classifier: Classifier, site: SiteProfile | None
) -> tuple[SlideErrors, float]:
    """What the slide is judged by, and the score from which on a cell is flagged."""
    if site is not None:
        return site.errors, site.balanced
    errors = slide_errors(bundle, classifier.operating_point)
    return errors, 2.0 if errors.balanced is None else bundle.classifier.threshold("balanced")


def check_site(site: SiteProfile, header: HeaderLine) -> None:
    """Refuses a site profile that was fitted under other conditions.

    Raises:
        UsageError: another bundle or other conditions.
    """
    other = [k for k, v in site.conditions.items() if header.settings.get(k) != v]
    if site.bundle_sha256 != header.bundle_sha256:
        other = ["bundle", *(k for k in other if k != "model_sha256")]
    if other:
        raise UsageError(
            f"the profile of site {site.name} was fitted with another {', '.join(other)}: "
            "fit the site again (site fit), or screen as it was fitted."
        )
