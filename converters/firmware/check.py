"""Compiles the generated files with this machine's C compiler and runs the golden cells."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from converters.firmware.golden import ROUNDINGS

_LIMIT_S = 120


def host_compiler() -> str | None:
    """The C compiler of this machine, or None."""
    return next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def check_on_host(folder: Path, roundings: Iterable[int]) -> dict[str, str]:
    """Rounding's name -> ``identical`` or what went wrong; ``not run: ...`` without a compiler."""
    compiler = host_compiler()
    if compiler is None:
        return {ROUNDINGS[r]: "not run: no C compiler on this machine" for r in roundings}
    return {ROUNDINGS[r]: _check(folder, compiler, r) for r in roundings}


def _check(folder: Path, compiler: str, rounding: int) -> str:
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / "selftest"
        names = ("edge_malaria_model.c", "edge_malaria_selftest.c")
        sources = [str(folder / name) for name in names]
        macros = [f"-DEDGE_MALARIA_ROUNDING={rounding}", "-DEDGE_MALARIA_SELFTEST_MAIN"]
        flags = ["-std=c99", "-O2", *macros, "-I", str(folder)]
        try:
            built = subprocess.run(
                [compiler, *flags, *sources, "-o", str(program)],
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
            )
            if built.returncode:
                return f"{compiler} failed: {(built.stderr.strip().splitlines() or ['?'])[0]}"
            ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"could not be run: {error}"
    if ran.returncode == 0:
        return "identical"
    # The self-test says what differs and ends with 1; anything else is a crash.
    said = ran.stdout.strip().rsplit(", ", 1)[-1]
    return said if ran.returncode == 1 and said else f"ended with status {ran.returncode}"
