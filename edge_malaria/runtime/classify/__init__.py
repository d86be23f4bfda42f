"""Cells to predictions: one bundle, one variant, one engine, one operating point."""
