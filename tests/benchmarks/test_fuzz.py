"""The fuzzing command: cases repeat, findings are told, and a few of each target hold."""

from __future__ import annotations

import random

import pytest

from benchmarks.fuzz import run
from benchmarks.fuzz.mutate import mutated
from benchmarks.fuzz.outcomes import Target, outcome
from benchmarks.fuzz.targets import targets
from edge_malaria.errors import ImageError

CASES = 40


@pytest.mark.parametrize("name", sorted(targets()))
def test_damaged_files_are_read_or_refused(name: str) -> None:
    target = targets()[name]
    cases = CASES if target.share >= 1 else CASES // 4
    for case in range(cases):
        data = mutated(random.Random(f"tests:{name}:{case}"), target.seeds)
        assert outcome(target, data) in ("read", "refused"), case


FOUND = {
    "manifest": [b"slide,source\na,fie\x00lds/\n", b"slide," + b"s" * 140_000 + b"\n"],
    "site": [b"[" * 5000],
    "goldens": [b"PK\x05\x06"],
    "configuration": [b"x = " + b"[" * 100_000],
}


@pytest.mark.parametrize("name", FOUND)
def test_what_fuzzing_found_is_refused(name: str) -> None:
    for data in FOUND[name]:
        assert outcome(targets()[name], data) == "refused"


def test_a_case_is_the_same_every_time() -> None:
    seeds = [bytes(range(200)), b"other"]
    made = [mutated(random.Random("0:x:7"), seeds) for _ in range(2)]
    assert made[0] == made[1]
    assert len({mutated(random.Random(f"0:x:{case}"), seeds) for case in range(50)}) > 40


def test_what_a_target_may_not_raise_is_a_finding() -> None:
    def fails(data: bytes) -> None:
        raise {b"o": ImageError("ours"), b"k": KeyError("theirs")}[data]

    target = Target([b"o"], fails)
    assert outcome(target, b"o") == "refused"
    assert outcome(target, b"k").startswith("KeyError")
    assert outcome(Target([b"o"], fails, allowed=(KeyError,)), b"k") == "refused"


def test_a_crash_of_the_child_is_a_finding_with_its_case() -> None:
    found = run._child("no-such-target", 0, 5, 3)
    assert found["cases"] == 1
    [(said, told)] = found["findings"].items()
    assert "ended with 1" in said
    assert told["first"] == 5
