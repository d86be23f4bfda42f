"""Data sets: rows, patients, splits, several readers' labels, and fetching the public archive."""
