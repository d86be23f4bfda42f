"""What the tests of sources share: what a source gives, and a film."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import Unreadable
from edge_malaria.runtime.sources.opening import open_source


def items(*specs: Path | str) -> list[Field | Unreadable]:
    """What a source gives."""
    return list(open_source([str(spec) for spec in specs]).fields())


def images(found: list[Field | Unreadable]) -> list[Image]:
    """The pictures, all of which must be readable."""
    assert all(isinstance(item, Field) for item in found), found
    return [item.image for item in found if isinstance(item, Field)]


def film(path: Path, code: str, pictures: list[Image]) -> Path:
    """A film of ten frames of each picture."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10.0, (width, height))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {code} film")
    for picture in pictures:
        for _ in range(10):
            writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
    writer.release()
    return path
