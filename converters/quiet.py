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
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout

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
    """Drops stdout and stderr: Python's, wherever they lead, and what C++ writes to 1 and 2."""
    for name in ("tensorflow", "tf2onnx", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        sink = stack.enter_context(tempfile.TemporaryFile())
        # A notebook's or a test's stdout does not lead to descriptor 1.
        text = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(text))
        stack.enter_context(redirect_stderr(text))
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            for number, original in zip((1, 2), kept, strict=True):
                os.dup2(original, number)
                os.close(original)
