"""Where the models that ship with the package lie."""

from __future__ import annotations

from pathlib import Path

SHIPPED_MODELS = Path(__file__).parents[1] / "models"


def shipped_bundle(name: str = "default") -> Path:
    """The directory of a bundle that ships inside the package."""
    return SHIPPED_MODELS / name
