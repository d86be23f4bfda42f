"""What the live page shows of a running slide, for the page itself and for its script."""

from __future__ import annotations

from typing import Any

from edge_malaria.runtime.serve import sayings
from edge_malaria.runtime.serve.running import RunningSlide, Seen
from edge_malaria.runtime.slide.counts import Measured
from edge_malaria.runtime.words.language import Words


def more_fields(seen: Seen, needed: int | None, least: int) -> int | None:
    """About so many more fields are needed; None where nothing can be said yet.

    Args:
        seen: so far.
        needed: cells that bring the limit of detection to what is wanted; None: none do.
        least: cells that a slide needs in any case.
    """
    if seen.accepted == 0 or seen.cells == 0 or needed is None:
        return None
    missing = max(0, max(needed, least) - seen.cells)
    return -(-missing * seen.accepted // seen.cells)


def live_values(running: RunningSlide, words: Words) -> dict[str, Any]:
    """Everything in words of the visitor's language."""
    seen, outlook = running.seen(), running.outlook()
    limits = running.statistics.rules
    quality = running.settings.config.quality
    return {
        "state": "running",
        "frame": seen.frame,
        "hint": sayings.hint(words, seen, away=running.source.away),
        "focus": sayings.focus(words, seen, quality),
        "light": sayings.light(words, seen),
        "density": sayings.density(words, seen),
        "fields": words.number(seen.fields),
        "accepted": words.number(seen.accepted),
        "cells": words.number(seen.cells),
        "flagged": words.number(seen.flagged),
        "interval": _interval(outlook.measured, words),
        "more": _more(
            words, more_fields(seen, outlook.cells_needed, limits.min_cells), limits.max_lod
        ),
    }


def _interval(found: Measured | None, words: Words) -> str:
    """The running interval of the parasitemia, by the program alone."""
    if found is None:
        return words.say("not known yet")
    low, high = found.ci95
    return words.say("between %(low)s and %(high)s", low=words.share(low), high=words.share(high))


def _more(words: Words, fields: int | None, wanted: float) -> str:
    limit = words.share(wanted)
    if fields is None:
        return words.say("It cannot be said yet how many fields are needed.")
    if fields == 0:
        return words.say("Enough fields for a limit of detection of %(limit)s.", limit=limit)
    return words.say(
        "About %(fields)s more fields for a limit of detection of %(limit)s.",
        fields=words.number(fields),
        limit=limit,
    )
