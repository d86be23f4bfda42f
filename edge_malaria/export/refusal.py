"""What a refused export says: each cause once and first, then what it made fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_malaria.parity import Failure

_MOST_LINES = 12


def refusal(name: str, failures: Sequence[Failure]) -> str:
    """The message of a gate that refused ``name``."""
    if not failures:
        return "the parity gate compared nothing; no bundle was written."
    lines = []
    for cause in dict.fromkeys(failure.cause for failure in failures if failure.cause):
        count = sum(failure.cause == cause for failure in failures)
        lines.append(f"  cause, of {count} of {len(failures)} failures: {cause}")
    lines += [f"  {replace(failure, cause='').message}" for failure in failures[:_MOST_LINES]]
    if len(failures) > _MOST_LINES:
        lines.append(f"  and {len(failures) - _MOST_LINES} more (edge-malaria parity shows all)")
    return "\n".join([f"the parity gate refused {name}; no bundle was written.", *lines])
