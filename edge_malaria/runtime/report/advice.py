"""What the verdict is called and what a health worker does now, in plain words."""

from __future__ import annotations

from edge_malaria.records import SlideReport

VERDICT_TITLES = {
    "parasites-detected": "Parasites detected",
    "not-detected": "Not detected in {cells} cells",
    "indeterminate": "Indeterminate",
}
_LOOK = "Look at the {waiting} yourself: edge-malaria review DIR. {gain}"
_VERIFY = (
    "Verify the site once: 5 slides or more, better 20, that another method found free of malaria "
    "(edge-malaria site fit). Then this program knows its mistakes on your stain and camera."
)
_MICROSCOPIST = "Let an experienced person read this slide under the microscope, or a thick film."
_SICK = "With fever or other signs: repeat after 12-24 hours, or use another test or a thick film."


def verdict_title(report: SlideReport) -> str:
    """The verdict as a heading; never "negative"."""
    return VERDICT_TITLES[report.verdict].format(cells=f"{report.cells_counted:,}")


def basis_text(report: SlideReport) -> str:
    """On what the verdict rests."""
    review = report.review
    waiting = review["flagged"] - review["reviewed"]
    if report.basis == "reader":
        return f"Read by {', '.join(review['readers'])}."
    if waiting:
        some = f" {review['reviewed']:,} were looked at." if review["reviewed"] else ""
        wait = "1 flagged cell waits" if waiting == 1 else f"{waiting:,} flagged cells wait"
        return f"By the program alone. {wait} for a person's look.{some}"
    if report.cells_counted == 0:
        return "No verdict: there is nothing to judge."
    return "By the program alone. No cell was flagged for a person to look at."


def next_steps(report: SlideReport, directory: str = "DIR") -> list[str]:
    """What to do now, the first thing first; at least one.

    Args:
        report: of the slide.
        directory: of the report, as commands name it.
    """
    numbers = report.details["statistics"]
    steps = list(_BY_CAUSE[numbers["cause"]](report))
    more = numbers["more_cells"]
    if more and report.verdict == "indeterminate":
        steps.append(f"Or count about {more:,} more cells of this slide: screen more fields.")
    return [step.replace("DIR", directory) for step in steps]


def next_step(report: SlideReport, directory: str = "DIR") -> str:
    """The steps for the terminal, a line each."""
    return "What to do now:\n" + "\n".join(f"- {step}" for step in next_steps(report, directory))


def _look(report: SlideReport) -> list[str]:
    """Asks for a person's look where cells wait for one, and says what is gained."""
    review, numbers = report.review, report.details["statistics"]
    waiting = review["flagged"] - review["reviewed"]
    if not waiting:
        return []
    limit = numbers["limit_of_detection_reviewed"]
    known = limit is not None and not numbers["unfamiliar"]
    gain = f"The slide then shows parasites from {100 * limit:.2g} % on." if known else ""
    cells = "flagged cell" if waiting == 1 else f"{waiting:,} flagged cells"
    return [_LOOK.format(waiting=cells, gain=gain).strip()]


def _verify(report: SlideReport) -> list[str]:
    return [] if report.site else [_VERIFY]


def _detected(report: SlideReport) -> list[str]:
    return [
        *_look(report),
        "Confirm under the microscope, name the species, and follow your guideline.",
    ]


def _confirmed(report: SlideReport) -> list[str]:
    return ["Name the species under the microscope, keep the slide, and follow your guideline."]


def _nothing(report: SlideReport) -> list[str]:
    return [_SICK, "Fewer parasites than the limit of detection cannot be seen this way."]


def _blind(report: SlideReport) -> list[str]:
    return [*_look(report), *_verify(report), _SICK]


def _grey(report: SlideReport) -> list[str]:
    return [*_look(report), *_verify(report), _MICROSCOPIST]


def _unfamiliar(report: SlideReport) -> list[str]:
    return [
        *_look(report),
        _MICROSCOPIST,
        "Check stain, light and white balance (the bench page), and take the fields again.",
        *_verify(report),
    ]


def _few(report: SlideReport) -> list[str]:
    return ["Take more fields of this slide.", *_look(report)]


def _none(report: SlideReport) -> list[str]:
    return ["Read below why fields were refused, correct it, and take new fields."]


def _one(report: SlideReport) -> list[str]:
    return [
        "Let a second person look at the confirmed cell: edge-malaria review DIR --reader NAME.",
        _MICROSCOPIST,
    ]


def _no_answer(report: SlideReport) -> list[str]:
    return [
        "Let a second person look at the cells without an answer: "
        "edge-malaria review DIR --reader NAME.",
        _MICROSCOPIST,
    ]


_BY_CAUSE = {
    "no-cells": _none,
    "few-cells": _few,
    "unfamiliar": _unfamiliar,
    "grey": _grey,
    "blind": _blind,
    "above-errors": _detected,
    "within-errors": _nothing,
    "confirmed": _confirmed,
    "one-confirmed": _one,
    "no-answer": _no_answer,
    "none-confirmed": _nothing,
}


def warnings_of(report_warnings: tuple[str, ...], *, disagree: bool) -> list[str]:
    """The run's warnings and those that follow from the counts."""
    texts = list(report_warnings)
    if disagree:
        texts.append(
            "The strict and the wide count contradict each other: this slide's stain or camera is "
            "unlike those that the program was tested on. No parasitemia is given."
        )
    return texts
