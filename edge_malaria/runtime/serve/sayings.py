"""What the pages say of a slide: states, hints at the microscope, verdicts and what to do next.

The report's own codes (verdict, cause, reason) choose the message; its numbers stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_malaria.records import SlideReport
from edge_malaria.runtime.quality.field_quality import QualityLimits
from edge_malaria.runtime.serve.running import Seen
from edge_malaria.runtime.words.language import Words, mark

STATES = {
    "new": mark("new"),
    "running": mark("being read"),
    "paused": mark("paused"),
    "finished": mark("finished"),
    "signed": mark("signed"),
}
ROLES = {"reader": mark("reader"), "supervisor": mark("supervisor"), "admin": mark("administrator")}
DECISIONS = {
    "parasite": mark("Parasite"),
    "no-parasite": mark("No parasite"),
    "unsure": mark("Cannot say"),
}
ACTIONS = {
    "signed-in": mark("signed in"),
    "sign-in-failed": mark("wrong password"),
    "signed-out": mark("signed out"),
    "user-added": mark("added a user"),
    "user-changed": mark("changed a user"),
    "slide-made": mark("made a slide"),
    "started": mark("started reading"),
    "paused": mark("paused"),
    "finished": mark("finished"),
    "uploaded": mark("sent pictures"),
    "signed": mark("signed"),
    "downloaded": mark("downloaded"),
    "sent": mark("sent by the device"),
    "sent-again": mark("asked the device to send again"),
}
SHORT_VERDICTS = {
    "parasites-detected": mark("Parasites detected"),
    "not-detected": mark("Not detected"),
    "indeterminate": mark("Indeterminate"),
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
_NOT_COUNTED = mark("This field was not counted.")
# What counts as only just sharp enough, and as few or many cells, of the limits of quality.toml.
_JUST_SHARP, _FEW_COVER, _MUCH_COVER = 1.15, 0.12, 0.65


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
    """What to do now, the first thing first."""
    numbers = report.details["statistics"]
    steps = []
    if waiting(report):
        steps.append(words.say(_LOOK, waiting=words.number(waiting(report))))
    # Verifying a site helps no slide of a site that is known already.
    skip = {_VERIFY} if report.site else set()
    steps += [words.say(step) for step in _NEXT[numbers["cause"]] if step not in skip]
    if numbers["more_cells"] and report.verdict == "indeterminate":
        steps.append(words.say(_MORE, more=words.number(numbers["more_cells"])))
    return steps


def reason(words: Words, code: str) -> str:
    """Why a field was not counted, and what to do about it."""
    return words.say(REASONS.get(code, _NOT_COUNTED))


def hint(words: Words, seen: Seen) -> str:
    """One sentence for the person at the microscope."""
    if seen.standing:
        return words.say(REASONS["seen-before"])
    if seen.fields == 0:
        return words.say("Waiting for the first field.")
    if seen.reason:
        return reason(words, seen.reason)
    return words.say("Good. Move on to the next field.")


def focus(words: Words, seen: Seen, limits: QualityLimits) -> str:
    """How sharp the latest field is."""
    if seen.reason == "out-of-focus":
        return words.say("not sharp")
    value = seen.measures.get("focus")
    if value is None:
        return words.say("not yet")
    just = not (value >= _JUST_SHARP * limits.min_focus)
    return words.say("just sharp enough") if just else words.say("sharp")


def light(words: Words, seen: Seen) -> str:
    """How bright the latest field is."""
    if seen.reason == "too-dark":
        return words.say("too dark")
    if seen.reason in ("too-bright", "clipped"):
        return words.say("too bright or cut off")
    return words.say("good") if seen.measures else words.say("not yet")


def density(words: Words, seen: Seen) -> str:
    """How close the cells lie on the latest field."""
    if seen.reason == "too-dense":
        return words.say("cells lie on each other")
    value = seen.measures.get("cover")
    if seen.reason == "no-cells" or (value is not None and not (value >= _FEW_COVER)):
        return words.say("few cells")
    if value is None:
        return words.say("not yet")
    return words.say("many cells") if value > _MUCH_COVER else words.say("good")
