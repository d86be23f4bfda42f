"""What a report rests on: the site, the program's mistakes, the rule, the model and its file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edge_malaria.records import SlideReport
from edge_malaria.runtime.words.language import Words


def facts_rows(words: Words, report: SlideReport) -> list[tuple[str, str]]:
    """(name, value) of what the report rests on."""
    details = report.details
    return [
        (
            words.say("Site profile"),
            report.site or words.say("none: this laboratory's own mistakes are not known"),
        ),
        (
            words.say("The program's mistakes"),
            f"{_mistakes(words, report)} {_known(words, report)}",
        ),
        (words.say("Rule"), _rule(words, report)),
        (words.say("red cells per microlitre"), words.number(round(report.rbc_per_ul))),
        (words.say("left out"), words.say("Gametocytes are not counted apart by this version.")),
        (words.say("Model"), f"{report.model}, {report.variant}, {report.engine}"),
        (words.say("Model file"), f"sha256 {details['model_sha256']}"),
        (words.say("Cell finder"), str(details["finder"])),
        (
            words.say("Thresholds"),
            words.say(
                "flagged from a score of %(flagged)s on, looks parasitized from %(called)s on",
                flagged=words.decimal(details["flagged_from"], 4),
                called=words.decimal(details["threshold"], 4),
            ),
        ),
        (words.say("Time"), f"{words.decimal(report.elapsed_s, 1)}\u00a0s"),
    ]


def _mistakes(words: Words, report: SlideReport) -> str:
    numbers = report.details["statistics"]
    return words.say(
        "%(mean)s of healthy cells look parasitized to it, up to %(high)s on one slide in twenty. "
        "It finds %(found)s of the parasitized cells.",
        mean=words.share(numbers["false_positive_mean"]),
        high=words.share(numbers["false_positive_p95"]),
        found=words.share(numbers["sensitivity_mean"]),
    )


def _known(words: Words, report: SlideReport) -> str:
    details = report.details
    slides = words.number(details["slides_without_malaria"])
    cells = words.number(details["cells_without_malaria"])
    if report.site:
        return words.say(
            "Known from %(slides)s slides, %(cells)s cells of this site.",
            slides=slides,
            cells=cells,
        )
    return words.say(
        "Known from %(laboratories)s laboratories (%(slides)s slides, %(cells)s cells), for one "
        "that is not among them.",
        laboratories=words.number(details["laboratories"]),
        slides=slides,
        cells=cells,
    )


def _rule(words: Words, report: SlideReport) -> str:
    needed = report.details["statistics"]["count_needed"]
    alone = (
        words.say(
            "From %(needed)s cells that look parasitized on, the program alone calls parasites.",
            needed=words.number(needed),
        )
        if needed
        else words.say("No count among so few cells lets the program alone call parasites.")
    )
    persons = words.say(
        "A person who confirms two flagged cells, or two persons who confirm one, decide."
    )
    return f"{alone} {persons}"


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of name and value."""
    return "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows
    )
