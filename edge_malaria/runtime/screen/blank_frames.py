"""Frames of a film or camera that show nothing: a capped lens, a lamp that is off, an empty stage.

They match no other frame, so each would be a place of its own, with a line in the journal. Each
reason gets one line until a field is counted again; somebody at the microscope is told in time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from edge_malaria.runtime.quality.field_quality import REASONS
from edge_malaria.runtime.slide.registration import Placement

_BLANK = ("too-dark", "too-bright", "clipped", "no-cells")
# So long nothing may be seen before it is said.
_TELL_AFTER_S = 5.0


class BlankFrames:
    """Counts frames without anything to count between two counted fields.

    Attributes:
        tell: called once with what to do, after nothing was seen for some seconds.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda text: None
        self._total: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._since: float | None = None
        self._told = False

    def again(self, reason: str, placement: Placement) -> bool:
        """Whether this blank frame is like one before it, so that it needs no line."""
        if reason not in _BLANK or placement.correlation > 0:
            return False
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not self._told and now - self._since > _TELL_AFTER_S:
            self._told = True
            self.tell(f"nothing to count for {now - self._since:.0f} s: {REASONS[reason]}")
        if reason not in self._seen:
            self._seen.add(reason)
            return False
        self._total[reason] += 1
        return True

    def counted(self) -> None:
        """A field was counted: the next blank frame is a new event."""
        self._seen.clear()
        self._since, self._told = None, False

    @property
    def warnings(self) -> list[str]:
        """How many frames were blank, for the report."""
        return [
            f"{n} more frames were refused as {reason}, like the one before them, and have no line."
            for reason, n in sorted(self._total.items())
        ]
