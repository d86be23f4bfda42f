"""Values read from a line of the journal; what they are not raises ``ValueError``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edge_malaria.records import expect


def keys(
    value: Mapping[str, Any], needed: Sequence[str], known: Sequence[str] | None = None
) -> None:
    """Raises unless ``value`` has the ``needed`` keys and no other than ``known`` ones."""
    missing = [name for name in needed if name not in value]
    expect(not missing, f"keys {list(needed)}", f"none of {missing}")
    unknown = sorted(set(value) - set(known or needed))
    expect(not unknown, "known keys", unknown)


def whole(value: Any) -> int:
    """A whole number from 0 on."""
    ok = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    expect(ok, "a whole number from 0 on", value)
    return int(value)


def number(value: Any) -> float:
    """A finite number."""
    ok = isinstance(value, int | float) and not isinstance(value, bool)
    expect(ok and math.isfinite(value), "a number", value)
    return float(value)


def text(value: Any) -> str:
    """A text."""
    expect(isinstance(value, str), "text", value)
    return str(value)


def rows(value: Any, most: int) -> list[Any]:
    """A list of at most ``most`` values."""
    expect(isinstance(value, list) and len(value) <= most, f"at most {most} rows", type(value))
    return list(value)
