"""The assertions; every failure's message says what, got, expected, limit and cause."""

from __future__ import annotations

import pytest

from edge_malaria.errors import EdgeMalariaError
from edge_malaria.parity import Failure, Pair, ParityReport


def _fail(failures: list[Failure]) -> None:
    if failures:
        pytest.fail("\n".join(failure.message for failure in failures), pytrace=False)


def test_the_gate_ran(parity_outcome: ParityReport | Exception) -> None:
    """A bundle that cannot be opened, or an engine that is unknown, is one failed test."""
    if isinstance(parity_outcome, EdgeMalariaError):
        pytest.fail(f"{type(parity_outcome).__name__}: {parity_outcome}", pytrace=False)
    if isinstance(parity_outcome, Exception):
        raise parity_outcome


def test_something_was_compared(report: ParityReport) -> None:
    """No pair compared is a failure, never a pass."""
    if not report.pairs:
        pytest.fail(f"no pair was compared; not run: {'; '.join(report.not_run)}", pytrace=False)


def test_stage(report: ParityReport, stage: str) -> None:
    """Files, goldens and encoded crops, which belong to no pair."""
    _fail([failure for failure in report.failures if failure.stage == stage])


def test_pair(pair: Pair) -> None:
    """One model file against its reference."""
    _fail(list(pair.failures))


def test_verdict(report: ParityReport) -> None:
    """The verdict that ``export`` and ``edge-malaria parity`` act on."""
    _fail(list(report.all_failures()))
    assert report.passed


def test_not_run(left_out: str) -> None:
    """Named, so that nobody takes it for passed."""
    pytest.skip(left_out)
