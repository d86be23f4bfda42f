"""Networks that can be trained: ``build(name, input_size=None) -> keras.Model``."""

from edge_malaria.training.architectures.registry import build

__all__ = ["build"]
