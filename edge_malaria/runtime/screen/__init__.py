"""Screening: from a source to a report directory, resumable after every field."""
