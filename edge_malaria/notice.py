"""The notice that stands on every screen and report."""

RESEARCH_USE = "For research use only. Not for use in diagnostic procedures."
