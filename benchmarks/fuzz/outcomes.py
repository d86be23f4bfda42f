"""What a reader is, and what became of one damaged file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_malaria.errors import EdgeMalariaError


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        seeds: sound files.
        run: takes the bytes.
        share: of the cases, relative to the others: slow readers get fewer.
        allowed: exceptions beside this package's own that its docstring promises.
    """

    seeds: Sequence[bytes]
    run: Callable[[bytes], Any]
    share: float = 1.0
    allowed: tuple[type[Exception], ...] = ()


def outcome(target: Target, data: bytes) -> str:
    """``read``, ``refused``, or what went wrong: the exception and where it came from."""
    try:
        target.run(data)
    except EdgeMalariaError as error:
        return "refused" if len(str(error)) < 6100 else "a message of 6,100 characters and more"
    except target.allowed:
        return "refused"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return _finding(error)
    return "read"


def _finding(error: BaseException) -> str:
    trace = error.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "edge_malaria" in code.co_filename or "benchmarks" in code.co_filename:
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:120]} ({place})"
