"""edge-malaria: small malaria classifiers, proven before they ship and run at the edge.

For research use only. Not for use in diagnostic procedures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "open_bundle"]

if TYPE_CHECKING:
    from edge_malaria.runtime.classify.classifier import open_bundle


def __getattr__(name: str) -> Any:
    """Loads ``open_bundle`` on first use, so that importing the package stays cheap."""
    if name == "open_bundle":
        from edge_malaria.runtime.classify.classifier import open_bundle

        return open_bundle
    raise AttributeError(f"module 'edge_malaria' has no attribute {name!r}")
