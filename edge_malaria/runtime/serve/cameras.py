"""The device's cameras: their empty places, and opening what a slide is read from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from edge_malaria.runtime.serve.refused import Refused
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.sources.base import Source
from edge_malaria.runtime.sources.camera_opening import take_empty_place
from edge_malaria.runtime.sources.empty_place import (
    EmptyPlace,
    NotEmpty,
    read_empty_place,
    write_empty_place,
)
from edge_malaria.runtime.sources.opening import open_source
from edge_malaria.runtime.store.backup import CAMERAS
from edge_malaria.runtime.words.language import mark

_WHY = {
    "too-dark": mark("Too dark. Open the condenser or raise the lamp."),
    "too-bright": mark("Too bright. Lower the lamp or the exposure."),
    "not-empty": mark(
        "This place is not empty: there are cells, dirt or bubbles. Move to another one."
    ),
}


def is_camera(source: str) -> bool:
    """Whether a source is a camera, simulated ones included."""
    return source == "picamera" or source.startswith("camera:")


class Cameras:
    """The cameras of one device.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings

    def _path(self, source: str) -> Path:
        name = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")
        return self._settings.data / CAMERAS / f"{name}.json"

    def empty_place(self, source: str) -> EmptyPlace | None:
        """The picture that was taken of a camera's empty place; None for none.

        Raises:
            DataError: it is damaged.
        """
        path = self._path(source)
        return read_empty_place(path) if path.is_file() else None

    def take(self, source: str) -> EmptyPlace:
        """Takes and keeps it.

        Raises:
            Refused: no camera of this device, or the place is not empty.
            HardwareError: the camera does not open or delivers nothing.
            StorageError: disk full or not writable.
        """
        if source not in self._settings.choices or not is_camera(source):
            raise Refused("This source is no camera.")
        config = self._settings.config
        try:
            place = take_empty_place(source, config.source, config.camera)
        except NotEmpty as error:
            raise Refused(_WHY[error.reason]) from error
        write_empty_place(self._path(source), place)
        return place

    def open(self, source: str) -> Source:
        """What a slide is read from: a camera, a folder that fills, a drawn slide.

        Raises:
            UsageError, DataError: see ``open_source``.
        """
        config = self._settings.config
        camera = config.camera
        if is_camera(source) and self._path(source).is_file():
            camera = replace(camera, empty_place=str(self._path(source)))
        return open_source(
            [source], follow=Path(source).is_dir(), settings=config.source, camera=camera
        )
