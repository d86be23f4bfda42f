"""The examples: image reading, area averaging, the camera, the bare targets, the Pi installer."""

from __future__ import annotations

import csv
import ctypes
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert", reason="generating C needs ai-edge-litert")

from benchmarks import evidence_file
from benchmarks.firmware import camera, targets
from converters.firmware import to_c
from edge_malaria.bundle.format import read_bundle
from edge_malaria.files import write_image
from edge_malaria.prepare.contract import RESIZES, Preparation
from edge_malaria.prepare.preprocess import network_input
from edge_malaria.records import Image
from edge_malaria.synthetic import draw_cell

EXAMPLES = Path(__file__).resolve().parents[2] / "firmware_examples"
PI = EXAMPLES / "raspberry_pi"
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")

_AREA = """
#include "cell_resize.h"
typedef struct { const uint8_t *p; uint32_t width; } image_t;
static void pixel(const void *s, uint32_t x, uint32_t y, uint8_t rgb[3]) {
  const image_t *i = s;
  for (int c = 0; c < 3; c++) rgb[c] = i->p[3 * (y * i->width + x) + (uint32_t)c];
}
void scale(int way, const uint8_t *p, uint32_t w, uint32_t h, uint8_t *out, uint32_t side) {
  image_t i = {p, w};
  cell_resize(way, &i, pixel, w, h, out, side);
}
"""


def _library(folder: Path, sources: list[Path], include: list[Path]) -> ctypes.CDLL:
    out = folder / "library.so"
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", *(f"-I{path}" for path in include)]
    subprocess.run(["cc", *flags, *sources, "-o", out], check=True)
    return ctypes.CDLL(str(out))


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("area")
    (folder / "area.c").write_text(_AREA)
    common = EXAMPLES / "common"
    sources = [folder / "area.c", common / "area_resize.c", common / "cell_resize.c"]
    return _library(folder, sources, [common])


def _scaled(area: ctypes.CDLL, image: Image, side: int, way: str = "area") -> Image:
    out = np.zeros((side, side, 3), np.uint8)
    source = np.ascontiguousarray(image)
    pointers = (source.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
    height, width = image.shape[:2]
    area.scale(RESIZES.index(way), pointers[0], width, height, pointers[1], side)
    return out


@pytest.mark.parametrize("way", RESIZES)
@settings(max_examples=120, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 256), st.integers(0, 99))
def test_the_firmware_scales_cells_to_the_bits_of_python(
    area: ctypes.CDLL, way: str, width: int, height: int, side: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    expected = network_input(image, Preparation(side, way))
    np.testing.assert_array_equal(_scaled(area, image, side, way), expected)


def test_the_firmware_scales_drawn_cells_to_the_bits_of_python(area: ctypes.CDLL) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        crop = draw_cell(rng, "ring", int(rng.integers(30, 200))).image
        np.testing.assert_array_equal(_scaled(area, crop, 48), network_input(crop, 48))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    host = EXAMPLES / "c_host"
    folder = tmp_path_factory.mktemp("images")
    return _library(folder, [host / "image.c", host / "inflate.c"], [host])


class _Image(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("rgb", ctypes.POINTER(ctypes.c_uint8)),
    )


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=4000), st.integers(0, 9), st.integers(1, 4))
def test_inflate_undoes_zlib(images: ctypes.CDLL, data: bytes, level: int, repeat: int) -> None:
    packed = zlib.compress(data * repeat, level)
    out = ctypes.create_string_buffer(len(data) * repeat + 1)
    size = ctypes.c_size_t
    call = images.inflate_zlib(packed, size(len(packed)), out, size(len(data) * repeat))
    assert call == 0
    assert out.raw[:-1] == data * repeat
    assert images.inflate_zlib(packed, size(len(packed)), out, size(len(data) * repeat + 1)) != 0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["png", "ppm", "pgm", "grey.png"]))
def test_images_are_read_as_opencv_reads_them(
    images: ctypes.CDLL, width: int, height: int, kind: str
) -> None:
    rng = np.random.default_rng(width * 61 + height)
    grey = kind in ("pgm", "grey.png")
    picture = rng.integers(0, 256, (height, width) if grey else (height, width, 3)).astype(np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 2)  # so that every PNG row filter is chosen
    data = cv2.imencode("." + kind.split(".")[-1], picture)[1].tobytes()
    read = _Image()
    images.image_read.restype = ctypes.c_char_p
    assert images.image_read(data, ctypes.c_size_t(len(data)), ctypes.byref(read)) is None
    assert (read.width, read.height) == (width, height)
    pixels = np.ctypeslib.as_array(read.rgb, (height, width, 3)).copy()
    expected = np.repeat(picture[:, :, None], 3, 2) if grey else picture[:, :, ::-1]
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.slow
def test_camera_example_agrees_with_python(shipped_bundle: Path) -> None:
    result = camera.compare(read_bundle(shipped_bundle), frames=120)
    assert result.found == result.frames
    assert result.least_mask_iou >= 0.75
    # The same mask gives the same bits; each path finds it itself, in integers and in floats.
    assert (result.same_label, result.largest_raw_step) == (result.frames, 0)
    assert result.same_mask >= 0.97 * result.frames
    assert result.same_label_own_masks >= 0.99 * result.frames


def _targets() -> ModuleType:
    spec = importlib.util.spec_from_file_location("targets", EXAMPLES / "targets.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["targets"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targets") / "c"
    return to_c.generate_from_bundle(read_bundle(shipped_bundle), folder).folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m55", "rv32imc"])
def test_a_bare_target_gives_the_golden_bits_within_its_limits(name: str, generated: Path) -> None:
    targets = _targets()
    target = next(target for target in targets.TARGETS if target.name == name)
    missing = targets.missing_tools(target)
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    row = targets.measure(target, generated)
    assert "failed" not in row, row
    assert row["differing_bytes"] == 0
    # Both networks of the bundle; micro takes less than 20 KB (firmware_examples/budget).
    assert row["flash_bytes"] <= 400 * 1024
    assert row["ram_bytes"] <= 40 * 1024
    if name == "cortex-m4":
        assert row["instructions"] <= 12_000_000


def test_a_network_too_large_for_the_chip_does_not_link(generated: Path, tmp_path: Path) -> None:
    targets = _targets()
    target = targets.TARGETS[2]
    if targets.missing_tools(target):
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    small, large = targets.Chip("small", 256, 16), target.chips[-1]
    elf = tmp_path / "network.elf"
    with pytest.raises(RuntimeError, match="overflow"):
        targets.build(replace(target, chips=(small,)), generated, elf)
    assert targets.build(replace(target, chips=(small, large)), generated, elf) is large


def test_the_evidence_keeps_the_budget() -> None:
    figures = json.loads((evidence_file.EVIDENCE / "firmware_targets.json").read_text())
    for model in targets.MODELS:
        budget = json.loads((EXAMPLES / "budget" / f"{model}.json").read_text())
        for row in figures[model]["rounding_0"]:
            assert targets.targets.over_budget(row, budget) == []


def test_a_budget_is_held_to_two_percent_and_fails_closed() -> None:
    targets = _targets()
    row = {"target": "t", "flash_bytes": 1000, "ram_bytes": 1000, "instructions": 1000}
    exact = {"t": {"flash_bytes": 1000, "ram_bytes": 1000, "instructions": 1000}}
    assert targets.over_budget(row, exact) == []
    assert targets.over_budget({**row, "instructions": 1021}, exact) != []
    assert targets.over_budget({**row, "flash_bytes": 979}, exact) != []
    assert targets.over_budget(row, {}) != []


def _install(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(PI / "install.sh"), *arguments]
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_installer_dry_run_says_all_and_does_nothing(tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    ran = _install("--dry-run", "--prefix", str(prefix))
    assert ran.returncode == 0, ran.stderr
    for word in ("venv", "pip install", "selftest", "watch_cells.py", "edge-malaria.service"):
        assert word in ran.stdout
    assert not prefix.exists()
    gone = _install("--dry-run", "--uninstall", "--purge", "--prefix", str(prefix))
    assert gone.returncode == 0
    assert "rm -rf" in gone.stdout


def test_offline_installation_asks_no_index(tmp_path: Path) -> None:
    wheels = tmp_path / "wheel house"
    wheels.mkdir()
    for name in ("edge_malaria-0.1.0-py3-none-any.whl", "pip-26.3-py3-none-any.whl"):
        (wheels / name).touch()
    ran = _install("--dry-run", "--wheelhouse", str(wheels), "--prefix", str(tmp_path / "opt"))
    assert ran.returncode == 0, ran.stderr
    [line] = [line for line in ran.stdout.splitlines() if "edge-malaria\\[litert\\]" in line]
    words = shlex.split(line)
    assert words[2:7] == ["env", "-C", str(wheels), "PIP_NO_INDEX=1", "PIP_FIND_LINKS=."]
    assert "--without-pip" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--wheelhouse", "/nowhere", "--dry-run"), 5),
        (("--prefix", "relative", "--dry-run"), 2),
        (("--prefix", "/", "--dry-run"), 2),
        (("--nonsense",), 2),
        (("--wheelhouse",), 2),
    ],
)
def test_installer_refuses_with_one_line(arguments: tuple[str, ...], code: int) -> None:
    ran = _install(*arguments)
    assert ran.returncode == code
    assert ran.stderr.startswith("error: ")
    assert len(ran.stderr.splitlines()) == 1


def test_pi_example_is_short_and_answers_for_every_picture(tmp_path: Path) -> None:
    script = PI / "watch_cells.py"
    assert len(script.read_text().splitlines()) <= 40
    # A drawn schizont is called in five of six lone pictures; this one is.
    incoming, rng = tmp_path / "incoming", np.random.default_rng(3)
    incoming.mkdir()
    for name in ("healthy", "schizont"):
        write_image(incoming / f"{name}.png", draw_cell(rng, name, 120).image)
    (incoming / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    old = time.time() - 60
    for path in incoming.iterdir():
        os.utime(path, (old, old))
    table = tmp_path / "results.csv"
    for _ in range(2):
        subprocess.run([sys.executable, script, incoming, table, "--once"], check=True)
    rows = {row[0]: row[1] for row in csv.reader(table.read_text().splitlines())}
    assert rows == {
        "healthy.png": "uninfected", "schizont.png": "parasitized", "torn.png": "unreadable",
    }  # fmt: skip
    assert len(table.read_text().splitlines()) == 3


def test_service_unit_is_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "edge-malaria.service"
    text = (
        (PI / "edge-malaria.service").read_text().replace("@PREFIX@/venv/bin/python", "/bin/true")
    )
    unit.write_text(text.replace("User=edge-malaria", "User=root"))
    ran = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "edge-malaria.service" not in ran.stderr, ran.stderr
