"""``picamera2`` as far as the runtime asks for it, over the compiled module that it is made of.

Raspberry Pi OS's package lies in no index; the test lays this file into the system's packages
under its name. Frames are JPEGs below /mnt/frames, decoded by simplejpeg: it was compiled for the
system's numpy, and another numpy breaks it here as it breaks the real one.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

FRAMES = Path("/mnt/frames")


class Picamera2:
    """A camera that shows one stored frame after the other."""

    def __init__(self) -> None:
        self._frames = itertools.cycle(sorted(FRAMES.glob("*.jpg")))

    def create_still_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        assert main["format"] == "BGR888"
        return main

    def configure(self, configuration: dict[str, Any]) -> None: ...

    def start(self) -> None: ...

    def set_controls(self, controls: dict[str, Any]) -> None:
        assert controls["AeEnable"] is False

    def capture_metadata(self) -> dict[str, Any]:
        return {"ExposureTime": 8000, "AnalogueGain": 1.0, "ColourGains": (1.5, 1.6)}

    def capture_array(self) -> np.ndarray:
        # Emulation is slow enough: a real sensor leaves the processor alone, too.
        time.sleep(0.5)
        frame = simplejpeg.decode_jpeg(next(self._frames).read_bytes(), colorspace="RGB")
        # picamera2's "BGR888" is red first in memory.
        return np.ascontiguousarray(frame)

    def stop(self) -> None: ...

    def close(self) -> None: ...
