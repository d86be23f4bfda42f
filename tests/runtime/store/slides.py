"""A slide with a journal, for the worklist."""

from __future__ import annotations

from pathlib import Path

from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine, ReviewLine
from edge_malaria.runtime.store.slides import SLIDES, SlideEntry


def with_slide(data: Path, name: str = "s1", sample: str = "A-17") -> SlideEntry:
    entry = SlideEntry(name, sample, "ann", created="2026-01-05T08:00:00+00:00", state="paused")
    journal = Journal(data / SLIDES / name, HeaderLine(("sim:",), "ab"))
    journal.append(entry.fact())
    journal.append(ReviewLine("f", 0, "unsure", "ann", "2026-01-05T08:01:00+00:00"))
    journal.close()
    return entry
