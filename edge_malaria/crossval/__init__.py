"""Cross-validation: folds, what is trained in each, its results and their report."""
