"""The HTML page of a report: verdict, what to do, cells to look at, numbers, fields, the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from edge_malaria.records import RESEARCH_USE, SlideReport
from edge_malaria.runtime.report import cells, fields, sayings
from edge_malaria.runtime.report.foundations import facts_rows, facts_table
from edge_malaria.runtime.report.interval_plot import TONES, interval_card
from edge_malaria.runtime.report.limit_plot import limit_plot
from edge_malaria.runtime.report.numbers import tiles
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.review import Review
from edge_malaria.runtime.slide.totals import SlideTotals
from edge_malaria.runtime.words.language import Words

# A page of a slide that is still read asks for itself anew after so many seconds.
REFRESH_S = 10
_FILES = "report.json, report.md, cells.csv, journal.jsonl, fields/"


def template(name: str) -> Template:
    """A template of the report; it holds no word of any language."""
    text = resources.files("edge_malaria.runtime.report").joinpath("templates", name)
    return Template(text.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Content:
    """What a report's files say, in one language.

    Attributes:
        words: the language.
        directory: of the report.
        journal: of the slide.
        totals: over its fields.
        report: its record.
        review: what readers decided.
        commands: whether to name the commands that a step is done with.
        running: whether the slide is still read: the page then loads itself anew.
    """

    words: Words
    directory: Path
    journal: Journal
    totals: SlideTotals
    report: SlideReport
    review: Review
    commands: bool = True
    running: bool = False


def page(content: Content) -> str:
    """The whole page, self-contained but for the links to full-resolution fields."""
    words, report, totals, review = content.words, content.report, content.totals, content.review
    say = words.say
    tone, soft = TONES[report.verdict]
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if content.running else ""
    titles = {
        "t_report": say("Slide report"),
        "t_smear": say("Thin blood smear"),
        "t_next": say("What to do now"),
        "t_cells": say("Cells to look at"),
        "t_fields": say("Fields"),
        "t_rests": say("What this rests on"),
        "support": say("Decision support for a trained person: it never replaces the microscope."),
        "files": say("Files beside this page: %(files)s.", files=_FILES),
        "research_use": say(RESEARCH_USE),
        "verdict_title": sayings.verdict_title(words, report),
        "source": str(report.details["source"]),
        "basis": sayings.basis(words, report),
        "why": sayings.why(words, report),
        "cells_lead": cells.cells_lead(words, report),
        "fields_lead": fields.fields_lead(words, totals),
    }
    return template("report.html").substitute(
        {name: escape(text) for name, text in titles.items()},
        language=words.language,
        refresh=refresh,
        running=_running(words) if content.running else "",
        tone=tone,
        tone_soft=soft,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        next=_steps(words, report, content.directory.name, content.commands),
        warnings=_warnings(words, report.warnings),
        cells=cells.flagged(words, review),
        others=cells.others(words, sorted(totals.gallery, reverse=True), review),
        tiles=tiles(words, report),
        scale=interval_card(words, report),
        limits=limits_card(words, report),
        views=fields.views(words, content.directory, content.journal),
        refused=fields.refused(words, report.fields_rejected),
        facts=facts_table(facts_rows(words, report)),
    )


def _running(words: Words) -> str:
    text = words.say("This slide is still being read. The page loads itself anew.")
    return f'<p class="card running" role="status">{escape(text)}</p>'


def _steps(words: Words, report: SlideReport, directory: str, commands: bool) -> str:
    return "".join(
        f"<li>{escape(text)}"
        + (f" <code>{escape(command)}</code>" if commands and command else "")
        + "</li>"
        for text, command in sayings.steps_with_commands(words, report, directory)
    )


def _warnings(words: Words, texts: Sequence[str]) -> str:
    """A card with the warnings, or nothing."""
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    title = escape(words.say("Notes of the program, in English"))
    return (
        f'<section class="card"><h2>{title}</h2><ul class="warn" lang="en">{items}</ul></section>'
    )


def limits_card(words: Words, report: SlideReport) -> str:
    """What the slide could have shown, against the cells counted; "" where nothing is known."""
    rows = [tuple(row) for row in report.details["limits"]]
    if not rows or report.cells_counted == 0:
        return ""
    say = words.say
    lead = say(
        "Limit of detection: at this many parasites, 95 of 100 slides are found. The more red "
        "cells are counted, the lower it gets."
    )
    alone, person = say("the program alone"), say("a person looks at the flagged cells")
    keys = (
        f'<span class="keyed"><span class="key one"></span>{escape(alone)}</span> '
        f'<span class="keyed"><span class="key two"></span>{escape(person)}</span>'
    )
    rest = [say("Dashed: without parasites, a slide counts as not detected only below this line.")]
    if all(limit is None for _, limit, _ in rows):
        rest.append(
            say("The program alone has no line: it cannot tell here, however many it counts.")
        )
    wanted = report.details["statistics"]["max_lod"]
    title = say("What this slide could have shown")
    return (
        f'<section class="card"><h2>{escape(title)}</h2>'
        f'<p class="lead">{escape(" ".join([lead, *rest]))}</p><p class="lead">{keys}</p>'
        f"{limit_plot(words, rows, report.cells_counted, wanted)}</section>"
    )
