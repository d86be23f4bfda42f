"""The next field is decoded on another core while this one is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def cores() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order; each is made while the one before it is in use.

    An error comes where its item would have come. Whoever stops early waits for the item that is
    being made, and no further one is.

    Args:
        items: not one that waits for something outside, such as a camera.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="next-field") as pool:
        coming = pool.submit(next, items, _END)
        while True:
            item = coming.result()
            if item is _END:
                return
            coming = pool.submit(next, items, _END)
            yield item  # type: ignore[misc]
