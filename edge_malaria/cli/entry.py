"""The console script: hands over to ``app``, or says what keeps it from starting.

Nothing but the standard library is imported before ``doctor`` has had its turn, because it is the
command for machines on which the others fail.
"""

from __future__ import annotations

import os
import sys

_CANNOT_START, _CANNOT_WRITE, _INTERRUPTED = 3, 5, 130


def main() -> None:
    """Entry point of the console script."""
    try:
        sys.exit(_main(sys.argv[1:]))
    except KeyboardInterrupt:
        # While packages are imported, for seconds on a small board, nothing else catches it.
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _main(words: list[str]) -> int:
    if words[:1] == ["doctor"] and not {"-h", "--help"} & set(words):
        return _doctor(words[1:])
    try:
        from edge_malaria.cli.app import main as command
    except Exception as error:  # a broken package raises anything while it is imported
        if "--debug" in words:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        print(f"error: a package cannot be imported: {reason}. Run: edge-malaria doctor",
              file=sys.stderr)  # fmt: skip
        return _CANNOT_START
    command()
    return 0


def _doctor(words: list[str]) -> int:
    from edge_malaria.cli.streams import steady_streams
    from edge_malaria.doctor import main as doctor

    steady_streams()
    try:
        code = doctor(words)
        sys.stdout.flush()
        return code
    except OSError as error:
        # A full disk, or a reader that went away. Python would try again at its end, aloud.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0
        print(f"error: {error.strerror or error}", file=sys.stderr)
        return _CANNOT_WRITE


if __name__ == "__main__":
    main()
