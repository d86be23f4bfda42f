"""The report's headline numbers in words: cells, flags, parasitemia, limits of detection."""

from __future__ import annotations

import math
from html import escape

from edge_malaria.records import SlideReport
from edge_malaria.runtime.words.language import Words

# From so many times the estimate on, the upper end is said to be far up, and why.
_FAR = 4.0
# (name, value, note) of a number.
Headline = tuple[str, str, str]


def two_figures(value: float) -> int:
    """A count with the two figures that mean something."""
    if value <= 0:
        return 0
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(round(value / unit) * unit)


def headline_numbers(words: Words, report: SlideReport) -> list[Headline]:
    """The numbers in the order in which they are shown."""
    numbers, review = report.details["statistics"], report.review
    looked = words.say(
        "looked at %(reviewed)s: %(confirmed)s confirmed, %(overturned)s overturned",
        reviewed=words.number(review["reviewed"]),
        confirmed=words.number(review["confirmed"]),
        overturned=words.number(review["overturned"]),
    )
    fields = words.say(
        "in %(counted)s of %(seen)s fields",
        counted=words.number(report.details["fields_accepted"]),
        seen=words.number(report.fields_seen),
    )
    alone = _limit(words, report, report.limit_of_detection_per_ul, numbers["limit_of_detection"])
    looking = _limit(
        words,
        report,
        report.limit_of_detection_reviewed_per_ul,
        numbers["limit_of_detection_reviewed"],
    )
    return [
        (words.say("Red cells counted"), words.number(report.cells_counted), fields),
        (words.say("Flagged cells"), words.number(report.cells_flagged), looked),
        *_how_many(words, report),
        (words.say("Limit of detection, program alone"), *alone),
        (words.say("Limit of detection, person looks"), *looking),
    ]


def _how_many(words: Words, report: SlideReport) -> list[Headline]:
    names = words.say("Parasitemia"), words.say("Parasites per microlitre")
    if report.parasitemia is None or report.ci95 is None:
        unknown = words.say("not known")
        return [(names[0], unknown, no_number(words, report)), (names[1], unknown, "")]
    low, high = report.ci95
    rbc = report.rbc_per_ul
    share = words.say("between %(low)s and %(high)s", low=words.share(low), high=words.share(high))
    if 0 < _FAR * report.parasitemia < high:
        # False calls and chance do not put it there: the sensitivity of flagging does.
        why = words.say(
            "The second number is high because it is not known how many parasites are missed at "
            "this place."
        )
        share = f"{share}. {why}"
    count = words.say(
        "between %(low)s and %(high)s, at %(cells)s red cells",
        low=words.number(two_figures(low * rbc)),
        high=words.number(two_figures(high * rbc)),
        cells=words.number(round(rbc)),
    )
    per_ul = words.number(two_figures(report.parasites_per_ul or 0.0))
    return [(names[0], words.share(report.parasitemia), share), (names[1], per_ul, count)]


def no_number(words: Words, report: SlideReport) -> str:
    """Why no parasitemia is given."""
    numbers = report.details["statistics"]
    if report.cells_counted == 0:
        return words.say("No red cell was counted.")
    if numbers["unfamiliar"]:
        return words.say(
            "This slide is unlike those that the program was tested on: its count is no measure."
        )
    if numbers["points_disagree"]:
        return words.say("Two ways of counting contradict each other on this slide.")
    return words.say("Nothing here settles whether there are parasites: no number is given.")


def _limit(
    words: Words, report: SlideReport, value: float | None, share: float | None
) -> tuple[str, str]:
    if report.cells_counted == 0:
        return words.say("none"), words.say("No red cell was counted.")
    if value is None or share is None:
        return words.say("none"), words.say(
            "From so few cells, or at a place it does not know, it cannot tell."
        )
    about = words.say("about %(number)s", number=words.number(two_figures(value)))
    return about, words.say(
        "parasites per microlitre (%(share)s): a slide with fewer may be missed",
        share=words.share(share),
    )


def tiles(words: Words, report: SlideReport) -> str:
    """The numbers as the page's tiles."""
    return "".join(
        f'<div class="tile"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div><div class="note">{escape(note)}</div></div>'
        for name, value, note in headline_numbers(words, report)
    )
