"""A camera with uneven light, dust, a loose cable and a driver that hangs: drawn."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.errors import DataError, HardwareError, UsageError
from edge_malaria.records import Field, Image
from edge_malaria.runtime.sources.base import CameraSettings, SourceSettings
from edge_malaria.runtime.sources.camera_opening import open_camera, take_empty_place
from edge_malaria.runtime.sources.cameras import CAMERA_FACT
from edge_malaria.runtime.sources.empty_place import (
    FlatField,
    NotEmpty,
    read_empty_place,
    write_empty_place,
)
from edge_malaria.runtime.sources.opening import open_source

# A busy machine may take seconds to draw a view; a fault is waited for as short as that allows.
ROOMY = SourceSettings(camera_timeout_s=60.0, reconnect_s=20.0)
PATIENT = SourceSettings(camera_timeout_s=3.0, reconnect_s=60.0)
QUICK = CameraSettings(warm_up_s=0.0)
SMALL = "fields=2,width=320,height=240,cell_diameter_px=40,frames_per_s=200"
LENS = "shading=0.5,dust=12"


def frames_of(spec: str, count: int, camera: CameraSettings = QUICK) -> list[Image]:
    source = open_camera(spec, ROOMY, camera)
    found = [item for item in islice(source.fields(), count) if isinstance(item, Field)]
    return [item.image for item in found]


def uneven(image: Image) -> float:
    """By how much the light of a field varies, without its noise."""
    means = np.array(
        [tile.mean() for rows in np.split(image, 8) for tile in np.split(rows, 8, axis=1)]
    )
    return float(means.max() / means.min())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unplug_at=4,away_s=1", "no such device"),
        ("stall_at=4", "one and the same picture"),
        ("silent_at=4", "delivered no frame"),
    ],
)
def test_a_camera_that_goes_away_comes_back(fault: str, told: str) -> None:
    source = open_camera(f"camera:sim:{SMALL},{fault}", PATIENT, QUICK)
    items = [item for item in islice(source.fields(), 12) if isinstance(item, Field)]
    assert [item.name for item in items] == [f"{source.name}#{i}" for i in range(12)]
    assert len(source.warnings) == 1, source.warnings
    assert "came back" in source.warnings[0] and told in source.warnings[0]


def test_a_camera_that_stays_away_is_an_error_in_time() -> None:
    patience = replace(PATIENT, reconnect_s=1.0)
    source = open_camera(f"camera:sim:{SMALL},unplug_at=3,away_s=100", patience, QUICK)
    started, seen = time.monotonic(), 0
    with pytest.raises(HardwareError):
        for _ in source.fields():
            seen += 1
    assert seen >= 2 and time.monotonic() - started < 60


def test_one_that_is_not_there_at_first_is_not_waited_for() -> None:
    source = open_camera("camera:63", PATIENT, QUICK)
    with pytest.raises(HardwareError, match="does not open"):
        next(iter(source.fields()))


def test_an_empty_place_takes_light_and_dust_out(tmp_path: Path) -> None:
    place = take_empty_place(f"camera:sim:{SMALL},empty=1,{LENS}", ROOMY, QUICK)
    write_empty_place(tmp_path / "e.json", place)
    wish = replace(QUICK, empty_place=str(tmp_path / "e.json"))
    lens = f"camera:sim:{SMALL},{LENS}"
    even, shaded, ideal = (
        frames_of(spec, 1, camera)[0]
        for spec, camera in ((lens, wish), (lens, QUICK), (f"camera:sim:{SMALL}", QUICK))
    )
    # The same scene through an ideal lens is what the corrected one must look like.
    gain = np.median(ideal / np.maximum(even, 1), axis=(0, 1))
    off = np.abs(even * gain - ideal)
    assert np.percentile(off, 99) < 12 < np.percentile(np.abs(shaded.astype(int) - ideal), 80)
    blank = frames_of(f"camera:sim:{SMALL},empty=1,{LENS}", 1)[0]
    assert uneven(blank) > 1.3 > 1.02 > uneven(FlatField(place).apply(blank))


def test_the_same_frame_gives_the_same_bits() -> None:
    place = take_empty_place(f"camera:sim:{SMALL},empty=1,{LENS},noise=0.5", ROOMY, QUICK)
    frame = np.random.default_rng(2).integers(0, 256, (240, 320, 3), np.uint8)
    frame[:40] = 255
    done = FlatField(place).apply(frame)
    # Exact in double precision, then to the nearest, halves to the even one.
    wanted = np.minimum(np.rint(frame.astype(np.float64) * place.gains / 1024), 255)
    wanted[frame == 255] = 255
    assert np.array_equal(done, wanted)


@pytest.mark.parametrize(
    ("spec", "camera", "reason"),
    [
        (f"camera:sim:{SMALL},{LENS}", QUICK, "not-empty"),
        (f"camera:sim:{SMALL},empty=1", replace(QUICK, exposure=20.0), "too-dark"),
        (f"camera:sim:{SMALL},empty=1", replace(QUICK, exposure=130.0), "too-bright"),
    ],
)
def test_a_place_that_is_not_empty_is_refused(
    spec: str, camera: CameraSettings, reason: str
) -> None:
    with pytest.raises(NotEmpty) as caught:
        take_empty_place(spec, ROOMY, camera)
    assert caught.value.reason == reason


def test_settings_of_the_empty_place_are_repeated_and_recorded(tmp_path: Path) -> None:
    spec = f"camera:sim:{SMALL},empty=1"
    place = take_empty_place(spec, ROOMY, replace(QUICK, exposure=90.0, white_balance_k=5600.0))
    write_empty_place(tmp_path / "e.json", place)
    wish = replace(QUICK, empty_place=str(tmp_path / "e.json"))
    source = open_source([spec], settings=ROOMY, camera=wish)
    next(iter(source.fields()))
    fact = source.facts[CAMERA_FACT]
    assert (fact["exposure"], fact["white_balance_k"]) == (90.0, 5600.0)
    assert fact["empty_place"] == {"taken": place.taken, "sha256": place.sha256}
    assert source.warnings == []
    other = open_source([spec], settings=ROOMY, camera=replace(wish, exposure=70.0))
    next(iter(other.fields()))
    assert any("other settings (exposure)" in text for text in other.warnings)


def test_age_and_another_size_are_told(tmp_path: Path) -> None:
    place = take_empty_place(f"camera:sim:{SMALL},empty=1", ROOMY, QUICK)
    write_empty_place(tmp_path / "e.json", replace(place, taken="2026-01-01T00:00:00+00:00"))
    wish = replace(QUICK, empty_place=str(tmp_path / "e.json"))
    larger = SMALL.replace("320", "640").replace("240", "480")
    source = open_camera(f"camera:sim:{larger},empty=1", ROOMY, wish)
    next(iter(source.fields()))
    assert any("days old" in text for text in source.warnings)
    assert any("320 x 240 px" in text and "not applied" in text for text in source.warnings)


def test_a_changed_or_missing_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    for exposure in (100.0, 90.0):
        place = take_empty_place(
            f"camera:sim:{SMALL},empty=1", ROOMY, replace(QUICK, exposure=exposure)
        )
        write_empty_place(path, place)
    kept = read_empty_place(path)
    assert np.array_equal(kept.picture, place.picture) and kept.settings == place.settings
    pictures = list(tmp_path.glob("*.png"))
    assert len(pictures) == 1, "the earlier picture is gone"
    data = bytearray(pictures[0].read_bytes())
    data[-20] ^= 1
    pictures[0].write_bytes(bytes(data))
    with pytest.raises(DataError, match="not what was written"):
        read_empty_place(path)
    for text in ("", "{}", "[]", '{"picture": 3}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(DataError, match="empty place"):
            read_empty_place(path)


@pytest.mark.parametrize("spec", ["camera:sim:shading=2", "camera:sim:x=1", "camera:sim:fields=a"])
def test_an_impossible_plan_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        open_camera(spec, ROOMY)


def test_a_camera_that_cannot_keep_its_exposure_says_so() -> None:
    source = open_camera(f"camera:sim:{SMALL},lock=0", ROOMY, QUICK)
    next(iter(source.fields()))
    assert [text.split("'s ")[1].split(" cannot")[0] for text in source.warnings] == [
        "exposure", "white balance",
    ]  # fmt: skip
