"""The console script: hands over to ``app``, or says what keeps it from starting.

Nothing but the standard library is imported before ``doctor`` has had its turn, because it is the
command for machines on which the others fail.
"""

from __future__ import annotations

import sys

_CANNOT_START = 3


def main() -> None:
    """Entry point of the console script."""
    words = sys.argv[1:]
    if words[:1] == ["doctor"] and set(words[1:]) <= {"--json", "--debug"}:
        from edge_malaria.doctor import main as doctor

        sys.exit(doctor(words[1:]))
    try:
        from edge_malaria.cli.app import main as command
    except Exception as error:  # a broken package raises anything while it is imported
        if "--debug" in words:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        print(f"error: a package cannot be imported: {reason}. Run: edge-malaria doctor",
              file=sys.stderr)  # fmt: skip
        sys.exit(_CANNOT_START)
    command()


if __name__ == "__main__":
    main()
