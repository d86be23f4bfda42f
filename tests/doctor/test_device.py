"""`doctor` looks at the device: each fault is a finding with its fix."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria.doctor import clock
from edge_malaria.doctor.camera import camera
from edge_malaria.doctor.device import examine_device
from edge_malaria.doctor.finding import Finding
from edge_malaria.runtime.store.database import open_database
from tests.doctor.runs import command, findings


@pytest.fixture(autouse=True)
def any_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' folders may lie in memory."""
    monkeypatch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# A Raspberry Pi that is well: what its kernel shows, as files.
WELL = {
    "proc/self/mounts": "/dev/root / ext4 rw,noatime 0 0\ntmpfs /run tmpfs rw 0 0\n",
    "proc/meminfo": "MemTotal: 3884000 kB\nMemFree: 100000 kB\nMemAvailable: 3000000 kB\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "run/systemd/timesync/synchronized": "",
    "sys/class/thermal/thermal_zone0/temp": "52100\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
}


def _device(root: Path, data: Path | None = None, **changes: str) -> dict[str, Finding]:
    files = {**WELL, **{name.replace("__", "/"): text for name, text in changes.items()}}
    found = {one.what: one for one in examine_device(data, _tree(root, files))}
    for one in found.values():
        assert (one.fix != "") == (one.state != "ok"), one
    return found


def test_a_device_that_is_well_has_no_problem(tmp_path: Path) -> None:
    data = tmp_path / "data"
    open_database(data).close()
    found = _device(tmp_path / "root", data)
    assert {one.what for one in found.values() if one.state != "ok"} == set()
    assert set(found) == {
        "disk", "file system", "worklist", "memory", "clock", "temperature", "power",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "words", "fixes"),
    [
        ("50005", ["now: the supply's voltage", "throttled"], ["power supply", "cool"]),
        ("50000", ["since the start: the supply's voltage"], ["power supply"]),
        ("80008", ["soft temperature limit"], ["cool"]),
        ("20000", ["since the start: the processor's clock is capped"], ["cool"]),
    ],
)
def test_the_firmware_s_flags_are_read_bit_by_bit(
    tmp_path: Path, flags: str, words: list[str], fixes: list[str]
) -> None:
    """vcgencmd get_throttled: 0-3 now, 16-19 since the start (Raspberry Pi documentation)."""
    path = "sys/devices/platform/soc/soc:firmware/get_throttled"
    power = _device(tmp_path, **{path.replace("/", "__"): f"{flags}\n"})["power"]
    assert power.state == "problem"
    assert all(word in power.detail for word in words), power
    assert all(word in power.fix for word in fixes), power


def test_another_kernel_tells_low_voltage_by_its_sensor(tmp_path: Path) -> None:
    root = _tree(tmp_path, {
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
    })  # fmt: skip
    (power,) = [one for one in examine_device(None, root) if one.what == "power"]
    assert power.state == "problem" and "voltage" in power.detail


def test_heat_memory_and_file_systems_are_problems_with_a_fix(tmp_path: Path) -> None:
    data = tmp_path / "data"
    open_database(data).close()
    found = _device(
        tmp_path / "root",
        data,
        sys__class__thermal__thermal_zone0__temp="84000\n",
        proc__meminfo="MemTotal: 900000 kB\nMemAvailable: 90000 kB\n",
        proc__self__mounts="overlay / overlay rw 0 0\n",
    )
    assert "84 degrees" in found["temperature"].detail
    assert "overlay" in found["file system"].detail
    assert "raspi-config" in found["file system"].fix
    states = {what: found[what].state for what in ("temperature", "memory", "file system")}
    assert set(states.values()) == {"problem"}, states
    read_only = _device(
        tmp_path / "other", data, proc__self__mounts="/dev/mmcblk0p2 / ext4 ro 0 0\n"
    )["file system"]
    assert read_only.state == "problem" and "remount,rw" in read_only.fix


def test_the_clock_is_compared_with_the_version_and_the_latest_slide(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root", WELL)
    assert "before this version" in clock.clock(root, 1_600_000_000.0, 0.0).detail
    late = clock.clock(root, time.time(), time.time() + 7 * 86400)
    assert late.state == "problem" and "before the latest slide" in late.detail
    (root / "run/systemd/timesync/synchronized").unlink()
    alone = clock.clock(root, time.time(), 0.0)
    assert "no battery clock" in alone.detail and "RTC" in alone.fix
    _tree(root, {"sys/class/rtc/rtc0/time": "12:00:00\n"})
    assert "kept by a battery clock" in clock.clock(root, time.time(), 0.0).detail


def test_what_chrony_says_is_read() -> None:
    """Lines of chronyc 4.3: of a source, of the own clock in "local" mode, before any answer."""
    rest = "0.000000038,0.017,0.002,0.238,0.000005893,0.000002314,1.0"
    line = f"C0A80001,192.168.0.1,3,1795797374.101056901,-0.000001383,0.000000054,{rest},Normal"
    assert clock._heard(line + "\n") == pytest.approx(1795797374.1, abs=0.01)
    assert clock._heard(line.replace("C0A80001,192.168.0.1", "7F7F0101,")) is None
    assert clock._heard(line.replace("Normal", "Not synchronised")) is None
    never = line.replace("C0A80001,192.168.0.1", "00000000,").replace("1795797374.101056901", "0.0")
    assert clock._heard(never) is None
    for odd in ("", "506 Cannot talk to daemon", line.replace("1795797374.101056901", "nan")):
        assert clock._heard(odd) is None


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _chronyd(folder: Path, *lines: str) -> subprocess.Popen[bytes]:
    """chrony's server with its own settings; it leaves this machine's clock alone (-x)."""
    folder.mkdir()
    settings = folder / "chrony.conf"
    settings.write_text("\n".join([*lines, f"pidfile {folder}/pid", "bindcmdaddress 127.0.0.1"]))
    program = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    command = [program, "-x", "-d", "-u", "root", "-f", str(settings)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(
    shutil.which("chronyc") is None or not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="needs chrony (apt install chrony) and root",
)
def test_a_clock_that_chrony_keeps_is_known(tmp_path: Path) -> None:
    ask = ["chronyc", "-c", "-h", "127.0.0.1", "-p"]
    ports = [_free_port() for _ in range(3)]
    source = _chronyd(
        tmp_path / "source", "local stratum 5", "allow 127.0.0.1", f"port {ports[0]}",
        f"cmdport {ports[1]}",
    )  # fmt: skip
    keeper = _chronyd(
        tmp_path / "keeper", f"server 127.0.0.1 port {ports[0]} iburst minpoll 0 maxpoll 0",
        "port 0", f"cmdport {ports[2]}",
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while (heard_s := clock.chrony_heard([*ask, str(ports[2]), "tracking"])) is None:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert abs(heard_s - time.time()) < 60
        # Its own clock is no source: this one was set by nobody.
        assert clock.chrony_heard([*ask, str(ports[1]), "tracking"]) is None
    finally:
        for running in (keeper, source):
            running.terminate()
            running.wait(30)
    assert clock.chrony_heard([*ask, str(ports[2]), "tracking"]) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's word is Linux's")
def test_the_kernel_is_asked_whether_its_clock_is_set() -> None:
    """Another call of the C library's tells the same state."""
    state = ctypes.CDLL(None).ntp_gettime(ctypes.create_string_buffer(512))
    assert state >= 0
    assert clock.kernel_synchronized() == (state != 5)


def test_the_disk_is_measured_in_slides_and_days(tmp_path: Path) -> None:
    """Sparse files: a slide of so many bytes that the disk is full in some days."""
    free = shutil.disk_usage(tmp_path).free
    for number in range(3):
        folder = tmp_path / "data" / "slides" / f"s{number}"
        folder.mkdir(parents=True)
        (folder / "journal.jsonl").write_text("{}\n")
        with (folder / "field.jpg").open("wb") as picture:
            picture.truncate(free * 2)
    disk = _device(tmp_path / "root", tmp_path / "data")["disk"]
    assert disk.state == "problem"
    assert "about 0 slides" in disk.detail and "full in about" in disk.detail
    assert "backup" in disk.fix


def test_a_damaged_or_missing_worklist_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    open_database(data).close()
    path = data / "store.sqlite3"
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    for rest in data.glob("store.sqlite3-*"):
        rest.unlink()
    assert _device(tmp_path / "root", data)["worklist"].state == "problem"
    path.unlink()
    assert _device(tmp_path / "root", data)["worklist"].state == "missing"


def test_the_camera_is_tried() -> None:
    found = findings(command("doctor", "--json", "--camera", "camera:sim:frames_per_s=50"))[
        "camera"
    ]
    assert found["state"] == "ok" and "640 x 480 px" in found["detail"], found


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("camera:sim:lock=0,frames_per_s=50", "exposure cannot be fixed"),
        ("camera:63", "does not open"),
    ],
)
def test_a_camera_with_a_fault_is_a_problem_with_a_fix(spec: str, word: str) -> None:
    found = camera(spec, Path("/"))
    assert found.state == "problem" and word in found.detail and found.fix, found


def test_the_first_usb_camera_is_the_one_that_is_tried(tmp_path: Path) -> None:
    """A kernel's list with a codec, a USB camera and the node of that camera's data."""
    usb = tmp_path / "sys/devices/usb1/1-1/1-1:1.0"
    usb.mkdir(parents=True)
    (usb / "interface").write_text("USB microscope\n")
    for name, index, target in (
        ("video10", "0", None),
        ("video61", "0", usb),
        ("video62", "1", usb),
    ):
        node = tmp_path / "sys/class/video4linux" / name
        node.mkdir(parents=True)
        (node / "index").write_text(f"{index}\n")
        if target is not None:
            (node / "device").symlink_to(target)
    found = camera("", tmp_path)
    assert found.state == "problem" and found.detail.startswith("camera:61: ")
    assert "video" in found.fix
