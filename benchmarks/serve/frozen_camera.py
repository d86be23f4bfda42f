"""A server whose camera freezes: its driver never returns again. Run by ``long_run`` and a test.

    python -m benchmarks.serve.frozen_camera DATA STALL_S

Everything is the real server but the camera's driver.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.records import Image
from edge_malaria.runtime.serve.app import Server, listening
from edge_malaria.runtime.serve.clinic import Clinic
from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.sources.base import Source
from edge_malaria.runtime.sources.cameras import CameraSource
from edge_malaria.synthetic import draw_field

_FRAMES, _TIMEOUT_S = 2, 300.0


class FrozenCamera:
    """Gives two fields, then hangs."""

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}
        self.notes: list[str] = []
        self._given = 0

    def read(self) -> Image | None:
        """The next frame."""
        self._given += 1
        if self._given > _FRAMES:
            threading.Event().wait()
        return np.ascontiguousarray(draw_field(self._given, 320, 240, cell_diameter_px=40)[0])

    def close(self) -> None:
        """Never reached."""


def _frozen(*_: object, **__: object) -> Source:
    return CameraSource("camera:0", FrozenCamera, _TIMEOUT_S)


def main() -> None:
    """Serves until it is killed."""
    data, stall_s = Path(sys.argv[1]), float(sys.argv[2])
    # A driver cannot be named on the command line.
    setattr(Desk, "_source", _frozen)  # noqa: B010
    settings = ServeSettings(data, port=0, sources=("camera:0",), stall_s=stall_s)
    clinic = Clinic(settings, read_bundle(shipped_bundle()))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with listening("127.0.0.1", 0) as place:
        Server(clinic).run(sockets=[place])


if __name__ == "__main__":
    main()
