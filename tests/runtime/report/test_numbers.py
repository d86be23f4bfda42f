"""The report's numbers in words."""

from __future__ import annotations

import dataclasses

import pytest

from edge_malaria.runtime.report.numbers import headline_numbers
from edge_malaria.runtime.words.language import LANGUAGES, words_for
from tests.runtime.report.test_fhir import REPORT

DETAILS = {
    "statistics": {"limit_of_detection": None, "limit_of_detection_reviewed": 0.0024},
    "fields_accepted": 18,
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_upper_end_far_above_the_estimate_says_why(language: str) -> None:
    words = words_for(language)
    why = words.say(
        "The second number is high because it is not known how many parasites are missed at this "
        "place."
    )
    for high, told in ((0.0178, False), (0.15, True)):
        report = dataclasses.replace(REPORT, ci95=(0.0071, high), details=DETAILS)
        notes = [note for _, _, note in headline_numbers(words, report)]
        assert any(note.endswith(why) for note in notes) is told
