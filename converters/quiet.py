"""Silences what TensorFlow and the converters print to stdout, stderr and the warning system.

stdout is data in this project; a converter's chatter there would break ``--json``.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edge_malaria.errors import MissingExtra

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN's other summation orders would make float outputs differ between machines.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def require(module: str) -> None:
    """Raises MissingExtra unless ``module`` is installed."""
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise MissingExtra({"tensorflow": "TensorFlow"}.get(module, module), "export")


@contextmanager
def quiet() -> Iterator[None]:
    """Redirects file descriptors 1 and 2 to a file that is dropped, C++ output included."""
    for name in ("tensorflow", "tf2onnx", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in zip((1, 2), kept, strict=True):
                os.dup2(original, number)
                os.close(original)
