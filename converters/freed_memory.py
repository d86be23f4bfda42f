"""Memory that was freed goes back to the system between two steps of a large job."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Collects what lies in reference cycles, and returns what the heap keeps.

    Engines and converters free tens of megabytes each, from threads of their own. glibc keeps them
    in one heap a thread, full of holes: after five recipes of a 256-px network 1 GB of them.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
