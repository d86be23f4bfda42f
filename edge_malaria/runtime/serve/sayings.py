"""What the pages say of a slide on its way: states, roles, hints at the microscope."""

from __future__ import annotations

from edge_malaria.runtime.quality.field_quality import QualityLimits
from edge_malaria.runtime.report.sayings import REASONS, reason
from edge_malaria.runtime.serve.running import Seen
from edge_malaria.runtime.serve.steered import Away
from edge_malaria.runtime.words.language import Words, mark

STATES = {
    "new": mark("new"),
    "running": mark("being read"),
    "paused": mark("paused"),
    "finished": mark("finished"),
    "signed": mark("signed"),
}
ROLES = {"reader": mark("reader"), "supervisor": mark("supervisor"), "admin": mark("administrator")}
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
    "empty-place": mark("took the empty place"),
    "signed": mark("signed"),
    "downloaded": mark("downloaded"),
    "sent": mark("sent by the device"),
    "sent-again": mark("asked the device to send again"),
}
_AWAY = {
    "camera": mark("The camera is gone. Look at its cable: the slide goes on by itself."),
    "folder": mark(
        "The folder is gone. Look at the disk or the network: the slide goes on by itself."
    ),
}
# What counts as only just sharp enough, and as few or many cells, of the limits of quality.toml.
_JUST_SHARP, _FEW_COVER, _MUCH_COVER = 1.15, 0.12, 0.65


def hint(words: Words, seen: Seen, *, away: Away = "") -> str:
    """One sentence for the person at the microscope.

    Args:
        words: the language.
        seen: what happened so far.
        away: what went away and is waited for.
    """
    if away:
        return words.say(_AWAY[away])
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
