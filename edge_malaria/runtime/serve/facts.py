"""The table of a slide's numbers and its status, for the page and the PDF."""

from __future__ import annotations

from edge_malaria.records import SlideReport
from edge_malaria.runtime.store.slides import SlideEntry
from edge_malaria.runtime.words.language import Words


def table(words: Words, entry: SlideEntry, report: SlideReport) -> list[tuple[str, str]]:
    """(name, value) of the report's table."""
    numbers = report.details["statistics"]
    rows = [
        (words.say("Sample"), entry.sample),
        (words.say("Slide"), entry.id),
        (words.say("Made"), words.when(entry.created)),
        (words.say("Who reads"), entry.reader),
        (words.say("Red cells counted"), words.number(report.cells_counted)),
        (words.say("Fields counted"), words.number(report.details["fields_accepted"])),
        (words.say("Flagged cells"), _flagged(words, report)),
        (words.say("Parasitemia"), parasitemia(words, report)),
        (words.say("Parasites per microlitre"), per_microlitre(words, report)),
        (
            words.say("Limit of detection"),
            _limit(words, numbers["limit_of_detection"]),
        ),
        (
            words.say("Limit of detection, person looks"),
            _limit(words, numbers["limit_of_detection_reviewed"]),
        ),
        (words.say("Site profile"), report.site or words.say("none")),
        (words.say("Model"), f"{report.model}, {report.variant}, {report.engine}"),
    ]
    return [(name, value) for name, value in rows if value]


def _flagged(words: Words, report: SlideReport) -> str:
    review = report.review
    text = words.say(
        "%(flagged)s, looked at %(reviewed)s, confirmed %(confirmed)s",
        flagged=words.number(review["flagged"]),
        reviewed=words.number(review["reviewed"]),
        confirmed=words.number(review["confirmed"]),
    )
    # Readers who cannot say, or who disagree: whoever signs has to know.
    unanswered = review["reviewed"] - review["confirmed"] - review["overturned"]
    if not unanswered:
        return text
    more = words.say(
        "On some flagged cells no answer stands: %(open)s.", open=words.number(unanswered)
    )
    return f"{text}. {more}"


def _limit(words: Words, share: float | None) -> str:
    return words.say("none") if share is None else words.share(share)


def parasitemia(words: Words, report: SlideReport) -> str:
    """The share with its interval, or that none is known."""
    if report.parasitemia is None or report.ci95 is None:
        return words.say("not known")
    low, high = report.ci95
    return words.say(
        "%(share)s (between %(low)s and %(high)s)",
        share=words.share(report.parasitemia),
        low=words.share(low),
        high=words.share(high),
    )


def per_microlitre(words: Words, report: SlideReport) -> str:
    """Parasites per microlitre with the red cells used, or that none is known."""
    if report.parasites_per_ul is None:
        return words.say("not known")
    return words.say(
        "%(number)s, at %(cells)s red cells per microlitre",
        number=words.number(float(f"{report.parasites_per_ul:.2g}")),
        cells=words.number(round(report.rbc_per_ul)),
    )


def status(words: Words, entry: SlideEntry) -> str:
    """Whether the report is final, and by whom."""
    if entry.signed_by:
        return words.say(
            "Final. Signed by %(who)s on %(when)s.",
            who=entry.signed_by,
            when=words.when(entry.signed_at),
        )
    return words.say("Preliminary: not signed.")
