"""The bundle: its format, its goldens, where the shipped ones lie, and its self-test."""

from edge_malaria.bundle.format import Bundle, read_bundle

__all__ = ["Bundle", "read_bundle"]
