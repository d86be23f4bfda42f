"""Names of the two classes: those of the NIH layout, or a data set's own.

Which of two names means an infected cell is told by the word itself, or said: ``A=parasitized``.
The order of the names never decides, because authors count their classes both ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_malaria.errors import UsageError

CANONICAL: Mapping[str, int] = {"parasitized": 1, "uninfected": 0}
# Words of public data sets and tutorials. "1" and "0" are missing on purpose: TensorFlow Datasets
# and Keras's folder readers count Parasitized as 0.
_INFECTED = """parasitized parasitised parasite parasites parasitic infected infection positive pos
malaria malarial sick ill diseased abnormal"""
_HEALTHY = """uninfected unparasitized unparasitised noninfected notinfected healthy normal negative
neg well clean nonparasitized nonparasitised nomalaria nonmalaria nonmalarial"""
_WORDS = {1: frozenset(_INFECTED.split()), 0: frozenset(_HEALTHY.split())}
_MEANINGS = {"parasitized": 1, "uninfected": 0}


def folded(name: str) -> str:
    """A class name as it is compared: without case and surrounding blanks."""
    return " ".join(name.split()).casefold()


def meaning_of(name: str) -> int | None:
    """1 where the word says infected, 0 where it says healthy, None where it says neither."""
    plain = re.sub(r"[^a-z]", "", folded(name))
    for label, words in _WORDS.items():
        if plain in words:
            return label
    return None


@dataclass(frozen=True)
class ClassNames:
    """The names that a data set gives its two classes.

    Attributes:
        labels: compared name (``folded``) -> 1 parasitized, 0 uninfected.
        shown: label -> the name as it was written.
    """

    labels: Mapping[str, int]
    shown: Mapping[int, str]

    def label(self, name: str) -> int | None:
        """The label of a class name, or None where it is neither's."""
        return self.labels.get(folded(name))

    def in_words(self) -> str:
        """Both names, for a message."""
        return f"{self.shown[1]} and {self.shown[0]}"


NIH_NAMES = ClassNames(CANONICAL, {1: "Parasitized", 0: "Uninfected"})


def parse_classes(text: str | None) -> ClassNames:
    """``infected,healthy`` or ``A=parasitized,B=uninfected`` -> names; None: those of the NIH set.

    The names Parasitized and Uninfected keep their meaning beside a data set's own.

    Raises:
        UsageError: not two names, or what they mean is not told.
    """
    if text is None:
        return NIH_NAMES
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            f"--classes: expected two names such as infected,healthy, got {text!r}. This project "
            "decides between parasitized and uninfected; merge other classes first."
        )
    pairs = [_named(part, text) for part in parts]
    names = [name for name, _ in pairs]
    given = [label for _, label in pairs]
    if given[0] is None and given[1] is not None:
        given[0] = 1 - given[1]
    if given[1] is None and given[0] is not None:
        given[1] = 1 - given[0]
    if given[0] is None or given[1] is None or given[0] == given[1]:
        a, b = names
        raise UsageError(
            f"--classes {text}: the names do not tell which is the infected class. Type one of\n"
            f"  --classes {a}=parasitized,{b}=uninfected\n"
            f"  --classes {a}=uninfected,{b}=parasitized"
        )
    own = {
        folded(name): label for name, label in zip(names, given, strict=True) if label is not None
    }
    if len(own) != 2 or any(CANONICAL.get(name, label) != label for name, label in own.items()):
        raise UsageError(f"--classes {text}: expected two different names that keep their meaning.")
    shown = {label: name for name, label in zip(names, given, strict=True) if label is not None}
    return ClassNames({**CANONICAL, **own}, shown)


def _named(part: str, text: str) -> tuple[str, int | None]:
    name, equals, meaning = (piece.strip() for piece in part.partition("="))
    if not equals:
        return name, meaning_of(name)
    if folded(meaning) not in _MEANINGS or not name:
        raise UsageError(
            f"--classes {text}: expected NAME=parasitized or NAME=uninfected, got {part!r}."
        )
    return name, _MEANINGS[folded(meaning)]


def suggested(names: Iterable[str]) -> str | None:
    """The ``--classes`` that fits folder names, where two of them say what they mean."""
    known = {label: name for name in names if (label := meaning_of(name)) is not None}
    return f"--classes {known[1]},{known[0]}" if len(known) == 2 else None
