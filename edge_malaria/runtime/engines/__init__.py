"""The device engines behind one small seam: one module an engine, ``opening`` chooses."""

from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import open_engine

__all__ = ["Engine", "open_engine"]
