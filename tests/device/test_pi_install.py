"""README's Raspberry Pi commands in Raspberry Pi OS's own Debian on aarch64, under qemu-user.

The system has Debian's numpy 1.24 and a module compiled for it, simplejpeg, which the camera's
driver needs (``pi_camera.py`` stands for the rest of picamera2). What README installs beside them
must leave them working, and ``doctor`` must tell where it does not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_malaria.files import write_image
from edge_malaria.synthetic import draw_field
from tests.device import arm, arm_root, processors
from tests.device.available import built_or_skipped
from tests.wheel import ROOT, build_wheel

CAMERA = Path(__file__).with_name("pi_camera.py")
# The release that Raspberry Pi OS 12 had its package of, compiled for numpy 1.
SIMPLEJPEG = "simplejpeg==1.6.6"
pytestmark = [pytest.mark.device, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def root() -> Path:
    """Raspberry Pi OS's Debian, or the reason why there is none."""
    return built_or_skipped(arm_root.PI_OS)


@pytest.fixture(scope="module")
def packages(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What an index would give to the Pi, in ``packages``; the system's own in ``system``."""
    place = tmp_path_factory.mktemp("pi")
    try:
        _fetch(place)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _fetch(place: Path) -> None:
    ours = build_wheel(place)
    keep = place / "keep.txt"
    keep.write_text("numpy==1.24.2\n")
    try:
        index = ["--dest", str(place / "packages")]
        arm_root.pip(arm_root.PI_OS, "download", *index, "-c", str(keep), f"{ours}[litert]")
        # The system has this one; pip must not need another.
        next((place / "packages").glob("numpy-1.24.2-*.whl")).unlink()
        # And what an index offers that no constraint keeps away.
        arm_root.pip(arm_root.PI_OS, "download", *index, "--no-deps", "numpy>=2")
        camera = ["--target", str(place / "system"), "--no-deps", SIMPLEJPEG]
        arm_root.pip(arm_root.PI_OS, "install", *camera)
    except RuntimeError as error:
        pytest.skip(f"the Pi's packages cannot be fetched here: {str(error).splitlines()[0]}")
    (place / "system" / "picamera2").mkdir()
    shutil.copy(CAMERA, place / "system" / "picamera2" / "__init__.py")


def _readme() -> list[str]:
    """The lines of README's block for the Pi, but for apt; the camera's line ends by itself."""
    text = (ROOT / "README.md").read_text()
    block = next(b for b in text.split("```sh\n")[1:] if "screen picamera" in b.split("```")[0])
    lines = [line for line in block.split("```")[0].splitlines() if not line.startswith("sudo apt")]
    assert len(lines) == 5
    return [line + " --fields 1" if "screen picamera" in line else line for line in lines]


# apt would have unpacked the camera's packages, and linked Debian's BLAS.
_SYSTEM = """
uname -m
cp -r /mnt/system/* /usr/lib/python3/dist-packages/
for name in blas lapack; do
    ln -s $name/lib$name.so.3 /usr/lib/aarch64-linux-gnu/lib$name.so.3
done
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/mnt/packages PIP_NO_COMPILE=1 PYTHONDONTWRITEBYTECODE=1
cd /mnt/out
cp /mnt/wheel/edge_malaria-*.whl .
python3 -c 'import numpy, picamera2; print(numpy.__version__)' >system-numpy
"""
_AFTER = """
~/edge-malaria/bin/edge-malaria doctor --json >doctor.json
~/edge-malaria/bin/edge-malaria selftest >selftest
~/edge-malaria/bin/python -c 'import numpy; print(numpy.__version__, numpy.__file__)' >numpy
~/edge-malaria/bin/pip install --quiet 'numpy>=2'
~/edge-malaria/bin/edge-malaria doctor --json >doctor-numpy2.json
! ~/edge-malaria/bin/edge-malaria screen picamera -o slide2 2>screen-numpy2
"""


def _findings(path: Path) -> dict[str, dict[str, str]]:
    return {found["what"]: found for found in json.loads(path.read_text())["findings"]}


def test_readme_s_commands_leave_the_camera_s_modules_working(
    packages: Path, tmp_path: Path
) -> None:
    frames, out, work = (tmp_path / name for name in ("frames", "out", "work"))
    for folder in (frames, out, work):
        folder.mkdir()
    for index in range(2):
        write_image(frames / f"{index}.jpg", draw_field(index + 3, 960, 720)[0], quality=95)
    binds = {
        "mnt/system": packages / "system",
        "mnt/packages": packages / "packages",
        "mnt/wheel": packages,
        "mnt/frames": frames,
        "mnt/out": out,
    }
    script = _SYSTEM + "\n".join(_readme()) + _AFTER
    try:
        said = arm.run_shell(
            arm_root.PI_OS, processors.CORTEX_A72, script, binds, work, timeout_s=3000
        )
    except arm.CannotStartPrograms as error:
        pytest.skip(str(error))
    assert said.split()[0] == "aarch64"
    assert (out / "system-numpy").read_text() == "1.24.2\n"
    version, place = (out / "numpy").read_text().split()
    assert version == "1.24.2" and place.startswith("/usr/lib/python3/dist-packages/")
    found = _findings(out / "doctor.json")
    assert [what for what, one in found.items() if one["state"] == "problem"] == []
    assert found["picamera2"]["state"] == found["engine litert"]["state"] == "ok"
    report = json.loads((out / "slide" / "report.json").read_text())
    assert report["fields_seen"] - sum(report["fields_rejected"].values()) == 1
    assert report["cells_counted"] > 20
    # With the numpy that pip would have brought, the camera is gone, and both say so.
    broken = _findings(out / "doctor-numpy2.json")["picamera2"]
    assert broken["state"] == "problem"
    assert "another numpy" in broken["detail"] and "numpy==" in broken["fix"]
    lines = (out / "screen-numpy2").read_text().splitlines()
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert not any("Traceback" in line for line in lines)
