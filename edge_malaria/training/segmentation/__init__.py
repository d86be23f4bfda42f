"""The semantic-segmentation network, measured beside the cell finder; it does not ship."""
