"""Finding the cells of a field: boxes, masks and kinds."""
