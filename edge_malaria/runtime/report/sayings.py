"""What is said of a slide in every language: verdict, why, what to do next, refused fields.

The report's own codes (verdict, cause, reason) choose the message; its numbers stand in it. The
pages, the PDF, the report directory and the terminal say it in these words.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_malaria.records import SlideReport
from edge_malaria.runtime.words.language import Words, mark, words_for

SHORT_VERDICTS = {
    "parasites-detected": mark("Parasites detected"),
    "not-detected": mark("Not detected"),
    "indeterminate": mark("Indeterminate"),
}
STATUS = {
    "waiting": mark("not looked at"),
    "confirmed": mark("parasite"),
    "overturned": mark("no parasite"),
    "unsure": mark("cannot say"),
    "conflict": mark("readers disagree"),
}
DECISIONS = {
    "parasite": mark("Parasite"),
    "no-parasite": mark("No parasite"),
    "unsure": mark("Cannot say"),
}
# Why a field was refused, and what to do about it: the same advice as the report's.
REASONS = {
    "unreadable": mark("The picture could not be read, or it is damaged."),
    "too-dark": mark("Too dark. Open the condenser or raise the lamp."),
    "too-bright": mark("Too bright. Lower the lamp or the exposure."),
    "clipped": mark("Large black parts. Look for a frame, a shade or a blocked light path."),
    "no-colour": mark("Hardly any colour. Take the picture in colour."),
    "no-cells": mark("No red cells to count. Move to where the cells lie side by side."),
    "too-dense": mark("Cells lie on each other. Move towards the thin end of the smear."),
    "not-a-thin-smear": mark("Not a thin smear: single red cells do not stand out."),
    "out-of-focus": mark("Out of focus. Turn the fine focus until the cell edges are sharp."),
    "cells-missed": mark("Most cells were not recognized. Move to where they lie side by side."),
    "scale": mark("Cells of another size than on this slide. Keep to one objective."),
    "too-small": mark("Cells are too small in the picture. Use the 100x objective."),
    "stain": mark("The stain's colours are out of range. Check the stain and the white balance."),
    "seen-before": mark("This place was counted already. Move the slide on."),
}
_CAUSES = {
    "no-cells": mark("No red cell could be counted."),
    "few-cells": mark("Too few red cells were counted: %(cells)s."),
    "unfamiliar": mark(
        "This stain, camera or light is unlike those that the program was tested on. Its count "
        "means nothing here."
    ),
    "grey": mark(
        "%(positive)s of %(cells)s cells look parasitized: more than usual without parasites, too "
        "few to tell them from the program's own mistakes."
    ),
    "blind": mark(
        "The program alone cannot tell parasites from its own mistakes here, from %(cells)s cells."
    ),
    "above-errors": mark(
        "%(positive)s of %(cells)s cells look parasitized, more than the program's own mistakes "
        "explain."
    ),
    "within-errors": mark(
        "%(positive)s of %(cells)s cells look parasitized, no more than the program's own mistakes "
        "explain."
    ),
    "confirmed": mark("All flagged cells were looked at. Confirmed: %(confirmed)s."),
    "one-confirmed": mark(
        "All flagged cells were looked at. Confirmed: %(confirmed)s. That is too few to be sure."
    ),
    "no-answer": mark("On some flagged cells no answer stands: %(open)s."),
    "none-confirmed": mark("All flagged cells were looked at. None holds a parasite."),
}
_LOOK = mark("Look at the flagged cells that wait: %(waiting)s.")
_GAIN = mark("The slide then shows parasites from %(share)s on.")
_MORE = mark("Or count about %(more)s more cells of this slide.")
_VERIFY = mark(
    "Let the laboratory verify this site once, with slides that are known to be free of malaria."
)
_SICK = mark(
    "With fever or other signs: repeat after 12 to 24 hours, or use another test or a thick film."
)
_MICROSCOPIST = mark(
    "Let an experienced person read this slide under the microscope, or a thick film."
)
_NEXT: Mapping[str, tuple[str, ...]] = {
    "no-cells": (mark("Read why fields were refused, correct it, and take new fields."),),
    "few-cells": (mark("Take more fields of this slide."),),
    "unfamiliar": (
        _MICROSCOPIST,
        mark("Check stain, light and white balance, and take the fields again."),
        _VERIFY,
    ),
    "grey": (_VERIFY, _MICROSCOPIST),
    "blind": (_VERIFY, _SICK),
    "above-errors": (
        mark("Confirm under the microscope, name the species, and follow your guideline."),
    ),
    "within-errors": (
        _SICK,
        mark("Fewer parasites than the limit of detection cannot be seen this way."),
    ),
    "confirmed": (
        mark("Name the species under the microscope, keep the slide, and follow your guideline."),
    ),
    "one-confirmed": (mark("Let a second person look at the confirmed cell."), _MICROSCOPIST),
    "no-answer": (mark("Let a second person look at the cells without an answer."), _MICROSCOPIST),
    "none-confirmed": (
        _SICK,
        mark("Fewer parasites than the limit of detection cannot be seen this way."),
    ),
}
# What a step is called on the command line; DIR is the report's directory.
_COMMANDS = {
    _VERIFY: "edge-malaria site fit",
    mark("Let a second person look at the confirmed cell."): (
        "edge-malaria review DIR --reader NAME"
    ),
    mark("Let a second person look at the cells without an answer."): (
        "edge-malaria review DIR --reader NAME"
    ),
}
_NOT_COUNTED = mark("This field was not counted.")


def verdict_title(words: Words, report: SlideReport) -> str:
    """The verdict as a heading; never "negative"."""
    if report.verdict == "not-detected":
        return words.say(
            "Not detected in %(cells)s cells", cells=words.number(report.cells_counted)
        )
    return words.say(SHORT_VERDICTS[report.verdict])


def waiting(report: SlideReport) -> int:
    """Flagged cells that nobody looked at yet."""
    return int(report.review["flagged"] - report.review["reviewed"])


def why(words: Words, report: SlideReport) -> str:
    """The verdict's reason."""
    numbers = report.details["statistics"]
    review = numbers["review"]
    values = {
        "cells": words.number(report.cells_counted),
        "positive": words.number(report.cells_positive),
        "confirmed": words.number(review["confirmed"]),
        "open": words.number(review["unsure"] + review["conflicts"]),
    }
    return words.say(_CAUSES[numbers["cause"]], **values)


def basis(words: Words, report: SlideReport) -> str:
    """On what the verdict rests."""
    if report.basis == "reader":
        return words.say("Read by %(who)s.", who=", ".join(report.review["readers"]))
    if waiting(report):
        return words.say("By the program alone. Flagged cells wait for a person's look.")
    return words.say("By the program alone.")


def next_steps(words: Words, report: SlideReport) -> list[str]:
    """What to do now, the first thing first; at least one."""
    return [text for text, _ in steps_with_commands(words, report, "")]


def steps_with_commands(words: Words, report: SlideReport, directory: str) -> list[tuple[str, str]]:
    """The same, each with the command that does it, "" for none.

    Args:
        words: the language.
        report: of the slide.
        directory: of the report, as commands name it.
    """
    numbers = report.details["statistics"]
    steps = []
    if waiting(report):
        steps.append((_look(words, report), f"edge-malaria review {directory}"))
    # Verifying a site helps no slide of a site that is known already.
    skip = {_VERIFY} if report.site else set()
    for step in _NEXT[numbers["cause"]]:
        if step not in skip:
            steps.append((words.say(step), _COMMANDS.get(step, "").replace("DIR", directory)))
    if numbers["more_cells"] and report.verdict == "indeterminate":
        steps.append((words.say(_MORE, more=words.number(numbers["more_cells"])), ""))
    return steps


def _look(words: Words, report: SlideReport) -> str:
    """Asks for a person's look, and says what is gained."""
    numbers = report.details["statistics"]
    text = words.say(_LOOK, waiting=words.number(waiting(report)))
    limit = numbers["limit_of_detection_reviewed"]
    if limit is None or numbers["unfamiliar"]:
        return text
    return f"{text} {words.say(_GAIN, share=words.share(limit))}"


def next_step(report: SlideReport, directory: str) -> str:
    """The steps for the terminal, in English, a line each."""
    words = words_for("en")
    steps = steps_with_commands(words, report, directory)
    lines = [f"- {text} {command}".rstrip() for text, command in steps]
    return "\n".join([f"{words.say('What to do now')}:", *lines])


def reason(words: Words, code: str) -> str:
    """Why a field was not counted, and what to do about it."""
    return words.say(REASONS.get(code, _NOT_COUNTED))
