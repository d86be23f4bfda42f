"""What ships: Keras weights, exported bundles, model cards."""
