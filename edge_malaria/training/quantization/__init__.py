"""From a trained network to the one that ships: folding, quantization-aware training."""
