"""The bundle: its format, its goldens, where the shipped ones lie, and its self-test."""

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle

__all__ = ["Bundle", "read_bundle"]
