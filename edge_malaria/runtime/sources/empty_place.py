"""A picture of an empty place, taken once: what lens, lamp and dust do to every field.

Each later frame is divided by it: multiplied by gains that are whole numbers of 1/1024, so that the
products are exact and the bits the same on every processor. The camera's exposure and white balance
at the empty place are kept with it: later slides are taken with the same, so that the stain's
colours agree from slide to slide.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.spec import sha256_hex
from edge_malaria.errors import DataError, ImageError, UsageError
from edge_malaria.files import encode_image, read_image, write_bytes, write_json
from edge_malaria.records import Image

# Frames of which the mean is taken: noise falls to a third.
FRAMES = 9
# An older picture is named: lamps age, dust moves.
MOST_DAYS = 30
# Gains are whole numbers of 1 / GAIN_ONE, and stay within a factor of 3.
GAIN_ONE, MOST_GAIN = 1024, 3.0
# The corrected empty slide is at most so bright, so that the correction burns nothing out.
_BRIGHTEST = 245.0
# An empty place is so bright (quality.toml asks fields for the same), and hardly burnt out.
_LEAST_LEVEL, _BURNT, _MOST_BURNT = 60.0, 254, 0.01
# Cells darken a place by a sixth to a third over shares of a field; dust covers less than this.
_UNEVEN, _MOST_UNEVEN = 0.06, 0.02
_SEARCH_SIDE_PX = 320
_NOT_EMPTY = "there are cells, dirt or bubbles"


class NotEmpty(UsageError):
    """The place is not empty, too dark or too bright.

    Attributes:
        reason: not-empty, too-dark or too-bright.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"this is no empty place: {detail}. Move to another one, or set the lamp.")
        self.reason = reason


@dataclass(frozen=True, eq=False)
class EmptyPlace:
    """The picture and how it was taken.

    Attributes:
        picture: uint8 [H, W, 3] RGB, the mean of ``FRAMES`` frames.
        source: the camera.
        settings: of the camera, as its driver tells them.
        taken: ISO date and time.
        sha256: of the picture's PNG.
    """

    picture: Image
    source: str
    settings: Mapping[str, Any]
    taken: str
    sha256: str

    @property
    def gains(self) -> NDArray[np.uint16]:
        """By how much each pixel is raised, in 1 / GAIN_ONE, uint16 [H, W, 3]."""
        # Noise of single pixels is no shading.
        smooth = np.asarray(cv2.blur(self.picture, (3, 3)), np.uint8)
        level = np.percentile(smooth.reshape(-1, 3)[:: 1 + smooth.size // 300_000], 75, axis=0)
        clear = np.rint(np.clip(level, 1, _BRIGHTEST)).astype(np.int64) * GAIN_ONE
        least, most = round(GAIN_ONE / MOST_GAIN), round(GAIN_ONE * MOST_GAIN)
        gains = np.empty(smooth.shape, np.uint16)
        for rows in _blocks(smooth.shape[0]):
            part = smooth[rows].astype(np.int64)
            gains[rows] = np.clip((clear + part // 2) // np.maximum(part, 1), least, most)
        return gains

    def age_days(self, now: datetime | None = None) -> float:
        """How old it is; 0 where the clock stands before it."""
        seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(self.taken)).total_seconds()
        return max(0.0, seconds / 86400)

    def remarks(self, settings: Mapping[str, Any]) -> list[str]:
        """What the report should say of it, beside a camera that is set like ``settings``."""
        told = []
        days = self.age_days()
        if not (days <= MOST_DAYS):
            told.append(f"The picture of an empty place is {days:.0f} days old: take it anew.")
        names = [
            name
            for name in ("exposure", "white_balance_k", "gain", "colour_gains")
            if name in settings and name in self.settings and settings[name] != self.settings[name]
        ]
        if names:
            told.append(
                f"The picture of an empty place was taken with other settings "
                f"({', '.join(names)}): take it anew."
            )
        return told


def _blocks(height: int) -> Iterator[slice]:
    """Rows at a time: a field of 12 megapixels would take some 300 MB at once."""
    return (slice(top, top + 256) for top in range(0, height, 256))


def mean_of(frames: Iterable[Image]) -> Image:
    """The mean of up to 256 frames of one size, uint8 [H, W, 3]; one at a time is in memory."""
    total: NDArray[np.uint16] | None = None
    count = 0
    for frame in frames:
        total = np.zeros(frame.shape, np.uint16) if total is None else total
        total += frame
        count += 1
    if total is None:
        raise ValueError("expected a frame, got none")
    total += count // 2
    return np.asarray(total // count, np.uint8)


def empty_place_of(picture: Image, source: str, settings: Mapping[str, Any]) -> EmptyPlace:
    """The picture of an empty place.

    Args:
        picture: uint8 [H, W, 3] RGB.
        source: the camera.
        settings: what it was set to.

    Raises:
        NotEmpty: there is something on it, or the lamp is wrong.
    """
    _check_empty(picture)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return EmptyPlace(picture, source, dict(settings), now, sha256_hex(_png(picture)))


def checked(frame: Image) -> Image:
    """The frame where it shows an empty place: what moves by would leave a ghost in the mean.

    Raises:
        NotEmpty: there is something on it, or the lamp is wrong.
    """
    _check_empty(frame)
    return frame


def _check_empty(picture: Image) -> None:
    level = float(np.median(picture))
    if not (level >= _LEAST_LEVEL):
        raise NotEmpty("too-dark", f"it is too dark (median level {level:.0f})")
    burnt = float((picture >= _BURNT).any(axis=2).mean())
    if not (burnt <= _MOST_BURNT):
        raise NotEmpty("too-bright", f"{100 * burnt:.0f} % of it is burnt out")
    uneven = float((np.abs(_beside_shading(picture)) > _UNEVEN).mean())
    if not (uneven <= _MOST_UNEVEN):
        raise NotEmpty("not-empty", f"{_NOT_EMPTY} ({100 * uneven:.0f} % of it)")


def _beside_shading(picture: Image) -> NDArray[np.float64]:
    """What is darker or brighter than lens and lamp explain, as a share; float64 [h, w].

    Shading is smooth: a polynomial of degree 4 in the logarithm, as in ``detect/flat_field``.
    """
    factor = min(1.0, _SEARCH_SIDE_PX / max(picture.shape[:2]))
    small = cv2.resize(picture[:, :, 1], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    light = np.log(np.maximum(np.asarray(small, np.float64), 1.0))
    height, width = light.shape
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    terms = np.stack([x**i * y**j for i in range(5) for j in range(5 - i)], axis=2).reshape(-1, 15)
    found = np.linalg.lstsq(terms, light.ravel(), rcond=None)[0]
    return np.asarray(light - (terms @ found).reshape(light.shape), np.float64)


def _png(picture: Image) -> bytes:
    return encode_image(picture, ".png")


def write_empty_place(path: Path, place: EmptyPlace) -> None:
    """Writes ``path`` (JSON) and the picture beside it; the JSON is written last.

    Raises:
        StorageError: disk full or not writable; an earlier one stands.
    """
    data = _png(place.picture)
    name = f"{path.stem}-{place.sha256[:12]}.png"
    write_bytes(path.with_name(name), data)
    write_json(
        path,
        {
            "schema_version": 1,
            "picture": name,
            "sha256": place.sha256,
            "source": place.source,
            "taken": place.taken,
            "settings": dict(place.settings),
        },
    )
    for old in path.parent.glob(f"{path.stem}-*.png"):
        if old.name != name:
            old.unlink(missing_ok=True)


def read_empty_place(path: Path) -> EmptyPlace:
    """What ``write_empty_place`` wrote.

    Raises:
        DataError: missing, damaged, or not what was written.
    """
    again = "Take it anew: edge-malaria camera empty-place."
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        picture = path.with_name(Path(str(found["picture"])).name)
        data = picture.read_bytes()
        if found["schema_version"] != 1 or sha256_hex(data) != found["sha256"]:
            raise DataError(f"{path}: {picture.name} is not what was written. {again}")
        datetime.fromisoformat(found["taken"])
        return EmptyPlace(
            read_image(picture), str(found["source"]), dict(found["settings"]),
            str(found["taken"]), str(found["sha256"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ImageError) as error:
        raise DataError(f"{path} is no picture of an empty place: {error}. {again}") from error


class FlatField:
    """Divides frames by the empty place.

    Args:
        place: the empty place.
    """

    def __init__(self, place: EmptyPlace) -> None:
        self.place = place
        self._gains = place.gains

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        height, width = self._gains.shape[:2]
        return width, height

    def apply(self, frame: Image) -> Image:
        """The frame under even light; uint8 [H, W, 3], of the empty place's size.

        What is burnt out stays so: nothing can be said of it.
        """
        # A product below 2^24 and a power of two are exact in single precision.
        raised = cv2.multiply(frame, self._gains, scale=1 / GAIN_ONE, dtype=cv2.CV_8U)
        # Not by a comparison with one number: OpenCV takes it as that of the first channel.
        burnt = cv2.compare(frame, np.full_like(frame, 255), cv2.CMP_EQ)
        return np.asarray(cv2.max(raised, burnt), np.uint8)
