"""The rules of a verdict, each with its cause and its reason in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_malaria.records import Verdict, expect
from edge_malaria.runtime.slide.counts import CAUSES, ReviewCount, SlideCount, VerdictRules

Limit = Callable[[], float | None]


@dataclass(frozen=True)
class Finding:
    """A verdict.

    Attributes:
        verdict: of the slide.
        cause: its reason in one word, on which advice rests.
        why: the reason in plain words.
    """

    verdict: Verdict
    cause: str
    why: str

    def __post_init__(self) -> None:
        expect(self.cause in CAUSES, f"cause in {CAUSES}", self.cause)


@dataclass(frozen=True)
class Seen:
    """What the statistics say of a count.

    Attributes:
        p_value: chance of as many positives or more without parasites.
        needed: gives the fewest positives that are called parasites; None where none are. Seldom
            asked for, and it takes a search.
        unfamiliar: more cells than parasites explain are neither clear nor positive.
        confirmations: so many confirmed cells mean parasites.
    """

    p_value: float
    needed: Callable[[], int | None]
    unfamiliar: bool
    confirmations: int = 2


def found_alone(rules: VerdictRules, count: SlideCount, seen: Seen, limit: Limit) -> Finding:
    """The program's own verdict; ``limit`` gives its limit of detection."""
    n, k = count.cells, count.positive
    if n == 0:
        return Finding("indeterminate", "no-cells", "No red cell could be counted.")
    if seen.unfamiliar:
        why = (
            f"On {count.borderline:,} of {n:,} cells the program cannot make up its mind. This "
            "stain, camera or light is unlike those that it was tested on, so its count means "
            "nothing here."
        )
        return Finding("indeterminate", "unfamiliar", why)
    if seen.p_value <= rules.level and n >= rules.min_cells_detected:
        why = (
            f"{k:,} of {n:,} cells look parasitized. On a slide without parasites the program's "
            f"own mistakes explain at most {(seen.needed() or 1) - 1:,}."
        )
        return Finding("parasites-detected", "above-errors", why)
    if n < rules.min_cells:
        why = f"Only {n:,} red cells were counted; {rules.min_cells} are the least."
        return Finding("indeterminate", "few-cells", why)
    if seen.p_value <= rules.grey_level:
        why = (
            f"{k:,} of {n:,} cells look parasitized: more than usual without parasites, too few "
            "to tell them from the program's own mistakes."
        )
        return Finding("indeterminate", "grey", why)
    why = f"{k:,} look parasitized, no more than the program's own mistakes may explain."
    return nothing_found(rules, n, limit(), "within-errors", why)


def found_by_reader(
    rules: VerdictRules, count: SlideCount, review: ReviewCount, seen: Seen, limit: Limit
) -> Finding:
    """The verdict where every flagged cell was looked at; ``limit`` is the reader's."""
    n, found = count.cells, review.confirmed
    who = " and ".join(review.readers) or "A person"
    looked = f"{who} looked at all {review.flagged:,} flagged cells of {n:,}"
    if found >= seen.confirmations or review.confirmed_by >= rules.confirm_readers:
        why = f"{looked} and confirmed parasites in {found:,}."
        return Finding("parasites-detected", "confirmed", why)
    if review.open:
        why = (
            f"{looked}. On {review.open:,} of them no answer stands: {review.unsure:,} could not "
            f"be told, on {review.conflicts:,} readers disagree."
        )
        return Finding("indeterminate", "no-answer", why)
    if found:
        why = (
            f"{looked} and confirmed parasites in {found:,}. Where so many cells are looked at, "
            f"{seen.confirmations:,} are asked for, or one that {rules.confirm_readers} persons "
            "confirm."
        )
        return Finding("indeterminate", "one-confirmed", why)
    nothing = f"{looked} and found no parasite."
    if n < rules.min_cells:
        why = f"{nothing} But only {n:,} red cells were counted; {rules.min_cells} are the least."
        return Finding("indeterminate", "few-cells", why)
    if seen.unfamiliar:
        why = (
            f"{nothing} But on {count.borderline:,} cells the program could not make up its mind: "
            "it may not have flagged the right ones."
        )
        return Finding("indeterminate", "unfamiliar", why)
    return nothing_found(rules, n, limit(), "none-confirmed", nothing)


def nothing_found(
    rules: VerdictRules, cells: int, limit: float | None, cause: str, why: str
) -> Finding:
    """``not-detected`` where the slide could have shown parasites, else indeterminate."""
    if limit is not None and limit <= rules.max_lod:
        return Finding("not-detected", cause, f"Not detected in {cells:,} cells: {why}")
    if limit is None:
        blind = (
            "At a place of which it knows nothing, the program alone cannot tell parasites from "
            f"its own mistakes in {cells:,} cells."
        )
    else:
        blind = (
            f"But this device cannot see less than {100 * limit:.2g} % here from {cells:,} cells: "
            f"a person with malaria may have less. Asked for is {100 * rules.max_lod:.2g} %."
        )
    return Finding("indeterminate", "blind", f"{why} {blind}")
