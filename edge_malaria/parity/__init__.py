"""Proof that an exported model is the trained model.

``gate`` runs every stage over a bundle and returns a ``ParityReport``; it is what ``export`` calls
before anything ships, what ``edge-malaria parity`` shows, and what ``edge_malaria.parity_suite``
asserts in a user's CI. No TensorFlow is imported: a live Keras model is handed in as an engine.
See docs/PARITY.md.
"""

from __future__ import annotations

from edge_malaria.bundle.limits import LIMITS, Limits
from edge_malaria.parity.exact import Twin
from edge_malaria.parity.findings import STAGES, Failure, Flip, Pair, Settings
from edge_malaria.parity.memory import Memory
from edge_malaria.parity.report import ParityReport
from edge_malaria.parity.suite import Beside, gate

# The name that reads well where nothing is gated: ``report = parity.compare(bundle)``.
compare = gate

__all__ = [
    "LIMITS",
    "STAGES",
    "Beside",
    "Failure",
    "Flip",
    "Limits",
    "Memory",
    "Pair",
    "ParityReport",
    "Settings",
    "Twin",
    "compare",
    "gate",
]
