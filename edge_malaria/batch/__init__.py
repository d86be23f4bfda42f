"""``edge-malaria batch``: many slides on many processes or machines, by dask.distributed."""
