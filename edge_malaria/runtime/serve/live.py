"""What the live page shows of a running slide, for the page itself and for its script."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_malaria.runtime.serve import sayings
from edge_malaria.runtime.serve.running import RunningSlide, Seen
from edge_malaria.runtime.slide.statistics import MOST_CELLS, SlideStatistics
from edge_malaria.runtime.words.language import Words

# Numbers of cells at which the limit of detection is looked up: the same for every slide, so that
# each is computed once.
_SIZES = tuple(int(n) for n in np.geomspace(200, MOST_CELLS, 60))


def cells_for_limit(statistics: SlideStatistics, wanted: float, flagged: float) -> int | None:
    """So many cells bring the limit of detection, with a reader, to ``wanted``; None: none do.

    Args:
        statistics: of the slide.
        wanted: parasitemia, 0-1.
        flagged: share of the cells that is flagged.
    """
    low, high = 0, len(_SIZES)
    while low < high:
        middle = (low + high) // 2
        limit = statistics.limit_reviewed(_SIZES[middle], flagged)
        if limit is not None and limit <= wanted:
            high = middle
        else:
            low = middle + 1
    return _SIZES[low] if low < len(_SIZES) else None


def more_fields(running: RunningSlide, seen: Seen) -> int | None:
    """About so many more fields are needed; None where nothing can be said yet."""
    if seen.accepted == 0 or seen.cells == 0:
        return None
    statistics = running.statistics
    wanted = statistics.rules.max_lod
    needed = cells_for_limit(statistics, wanted, seen.flagged / seen.cells)
    if needed is None:
        return None
    missing = max(0, max(needed, statistics.rules.min_cells) - seen.cells)
    return -(-missing * seen.accepted // seen.cells)


def live_values(running: RunningSlide, words: Words) -> dict[str, Any]:
    """Everything in words of the visitor's language."""
    seen = running.seen()
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
        "interval": _interval(running, words),
        "more": _more(words, more_fields(running, seen), limits.max_lod),
    }


def _interval(running: RunningSlide, words: Words) -> str:
    """The running interval of the parasitemia, by the program alone."""
    found = running.measured()
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
