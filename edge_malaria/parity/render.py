"""A report as table rows, Markdown and JUnit XML. The HTML page is ``page.py``."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from edge_malaria.parity.findings import STAGES, Failure, Pair
from edge_malaria.parity.report import ParityReport
from edge_malaria.records import RESEARCH_USE

COLUMNS = (
    "reference",
    "candidate",
    "cells",
    "n",
    "max |dp|",
    "SQNR dB",
    "same call",
    "flips",
    "McNemar p",
    "change of sensitivity",
    "change of specificity",
    "bits",
    "verdict",
)


def _change(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    low, high = interval if interval is not None else (float("nan"), float("nan"))
    return f"{100 * value:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _sqnr(pair: Pair) -> str:
    if pair.sqnr_db is None:
        return "–"
    return "no noise" if pair.sqnr_db == float("inf") else f"{pair.sqnr_db:.1f}"


def pair_row(pair: Pair) -> tuple[str, ...]:
    """One pair under ``COLUMNS``; changes in percentage points with 95 % intervals."""
    return (
        pair.reference,
        pair.candidate,
        pair.evidence,
        str(pair.n),
        f"{pair.max_abs_diff:.2g}",
        _sqnr(pair),
        f"{100 * pair.label_agreement:.2f} %",
        str(pair.flips),
        f"{pair.mcnemar_p:.3f}",
        _change(pair.delta_sensitivity, pair.delta_sensitivity_ci95),
        _change(pair.delta_specificity, pair.delta_specificity_ci95),
        "identical" if pair.bit_identical else "differ",
        "passed" if pair.passed else f"FAILED ({len(pair.failures)})",
    )


def shown_columns(report: ParityReport) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Columns and rows without the columns that no pair fills."""
    rows = [pair_row(pair) for pair in report.pairs]
    keep = [i for i in range(len(COLUMNS)) if any(row[i] != "–" for row in rows)]
    return [COLUMNS[i] for i in keep], [tuple(row[i] for i in keep) for row in rows]


# What fits on a terminal, in two tables: outputs, then calls on labelled cells.
OUTPUT_COLUMNS = (0, 1, 2, 3, 4, 5, 6, 7, 11, 12)
CALL_COLUMNS = (0, 1, 2, 3, 7, 8, 9, 10)


def part_of_table(
    report: ParityReport, columns: Sequence[int]
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Some columns of ``COLUMNS``; of the calls only pairs that have labels."""
    labelled = columns == CALL_COLUMNS
    pairs = [p for p in report.pairs if not labelled or p.delta_sensitivity is not None]
    rows = [tuple(pair_row(pair)[i] for i in columns) for pair in pairs]
    return [COLUMNS[i] for i in columns], rows


FINDER_COLUMNS = ("reference", "candidate", "fields", "cells", "same cells", "least", "verdict")


def finder_rows(report: ParityReport) -> list[tuple[str, ...]]:
    """The finder's pairs under ``FINDER_COLUMNS``."""
    return [
        (
            pair.reference,
            pair.candidate,
            str(pair.fields),
            str(pair.cells),
            f"{100 * pair.agreement:.2f} %",
            f"{100 * pair.least:.1f} %",
            "passed" if pair.passed else "FAILED",
        )
        for pair in report.finder
    ]


def headline(report: ParityReport) -> str:
    """One line: verdict, cells and time."""
    word = "passed" if report.passed else "FAILED"
    if not report.pairs:
        word = "FAILED: no pair was compared"
    cells = ", ".join(f"{n} {name}" for name, n in report.cells.items()) or "none"
    return f"parity of {report.bundle}: {word} · cells: {cells} · {report.elapsed_s:.1f} s"


def settings_line(report: ParityReport) -> str:
    """How it was decided."""
    settings = report.settings
    return (
        f"Operating point {settings.operating_point}; non-inferiority margin "
        f"{100 * settings.delta:g} points; bootstrap of {settings.resamples} redraws over "
        f"patients, seed {settings.seed}."
    )


def _layers(report: ParityReport) -> list[str]:
    return [
        f"{layer['layer']}: {layer['sqnr_db']:.1f} dB"
        for layer in report.worst_layers
        if layer.get("sqnr_db") is not None
    ]


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return head + ["| " + " | ".join(row) + " |" for row in rows]


def as_markdown(report: ParityReport) -> str:
    """The report as Markdown, for a job summary."""
    columns, rows = shown_columns(report)
    lines = [f"# {headline(report)}", "", settings_line(report), ""]
    lines += _markdown_table(columns, rows)
    if report.finder:
        lines += ["", "## Cell finder, on drawn fields", ""]
        lines += _markdown_table(FINDER_COLUMNS, finder_rows(report))
    failures = report.all_failures()
    if failures:
        lines += ["", f"## {len(failures)} failures", ""]
        lines += [f"- {failure.message}" for failure in failures]
    if report.worst_layers:
        lines += ["", "## Layers that lose most", ""]
        lines += [f"- {line}" for line in _layers(report)]
    if report.not_run:
        lines += ["", "## Not run", "", *(f"- {line}" for line in report.not_run)]
    sizes = ", ".join(f"{variant} {size:,} bytes" for variant, size in report.size_bytes.items())
    lines += ["", f"Sizes: {sizes}.", "", RESEARCH_USE, ""]
    return "\n".join(lines)


def _case(suite: ElementTree.Element, stage: str, name: str, failures: Sequence[Failure]) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=f"parity.{stage}", name=name)
    for failure in failures:
        element = ElementTree.SubElement(case, "failure", message=failure.message)
        element.text = (
            f"got: {failure.got}\nexpected: {failure.expected}\nlimit: {failure.limit}\n"
            f"cause: {failure.cause}"
        )


def error_junit(bundle: str, error: Exception) -> str:
    """JUnit XML of a run that ended before it could compare: one failed test case."""
    suite = ElementTree.Element(
        "testsuite", name=f"edge-malaria parity {bundle}", tests="1", failures="1", skipped="0"
    )
    suite.set("errors", "0")
    case = ElementTree.SubElement(
        suite, "testcase", classname="parity.opening", name="the gate could run"
    )
    text = _printable(str(error) or type(error).__name__)
    failure = ElementTree.SubElement(case, "failure", message=text, type=type(error).__name__)
    failure.text = text
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def as_junit(report: ParityReport) -> str:
    """The report as JUnit XML: a test case a pair, one a stage and subject, skips for not run."""
    suite = ElementTree.Element("testsuite", name=f"edge-malaria parity {report.bundle}")
    if not report.pairs:
        nothing = Failure("tensors", report.bundle, "pairs compared", "0", "at least 1", "1")
        _case(suite, "tensors", "pairs compared", [nothing])
    for pair in report.pairs:
        stage = "tensors" if pair.delta_sensitivity is None else "statistics"
        name = f"{pair.candidate} against {pair.reference} on {pair.n} {pair.evidence} cells"
        _case(suite, stage, name, pair.failures)
    for found in report.finder:
        if found.passed:
            name = f"finder {found.candidate} against {found.reference}"
            _case(suite, "tensors", f"{name} on {found.fields} drawn fields", [])
    for stage in STAGES:
        here = [failure for failure in report.failures if failure.stage == stage]
        if not here:
            if stage != "statistics":
                _case(suite, stage, f"{stage} of every file", [])
            continue
        for subject in dict.fromkeys(failure.subject for failure in here):
            _case(suite, stage, subject, [f for f in here if f.subject == subject])
    for line in report.not_run:
        case = ElementTree.SubElement(suite, "testcase", classname="parity.not_run", name=line)
        ElementTree.SubElement(case, "skipped", message=line)
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(sum(case.find("failure") is not None for case in suite)))
    suite.set("skipped", str(len(report.not_run)))
    suite.set("errors", "0")
    suite.set("time", f"{report.elapsed_s:.2f}")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
