"""A slide: its journal, places counted once, totals, error rates and the verdict."""
