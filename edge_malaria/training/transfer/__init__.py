"""Starting from weights that were trained on something else."""
