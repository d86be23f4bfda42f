"""Fresh environments from the wheel: built where ``EDGE_MALARIA_INSTALL`` is set.

``make install-check`` sets it. They take minutes and need a package index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.wheel import build_wheel


@pytest.fixture(scope="session", autouse=True)
def _asked_for() -> None:
    if not os.environ.get("EDGE_MALARIA_INSTALL"):
        pytest.skip("EDGE_MALARIA_INSTALL is not set: make install-check builds environments")


@pytest.fixture(autouse=True)
def _no_environment_stays(_asked_for: None, tmp_path: Path) -> Iterator[None]:
    """An environment takes up to gigabytes: it goes with its test, also with one that failed."""
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def run(
    *command: str | Path, cwd: Path, more: Mapping[str, str] | None = None, ok: bool = True
) -> subprocess.CompletedProcess[str]:
    """A program of a fresh environment; nothing of this one's settings reaches it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=1800,
        check=False,
        env={**kept, "NO_COLOR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **(more or {})},
    )
    said = f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert not ok or done.returncode == 0, said
    return done


def environment(place: Path, *requirements: str, system: bool = False) -> Path:
    """A new environment's ``bin``, with these requirements installed."""
    venv.create(place, with_pip=True, symlinks=True, system_site_packages=system)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    if requirements:
        run(programs / "python", "-m", "pip", "install", "--quiet", *requirements, cwd=place)
    return programs


@pytest.fixture(scope="session")
def wheel(_asked_for: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, in a folder ``dist`` as the documents have it."""
    return build_wheel(tmp_path_factory.mktemp("wheel") / "dist")
