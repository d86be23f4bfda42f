"""The camera: is one there, does it open, does it give a picture, can its exposure be kept."""

from __future__ import annotations

from pathlib import Path

from edge_malaria.doctor.finding import Finding, child
from edge_malaria.doctor.probes import CAMERA_PROBE, PICAMERA_LIST_PROBE

_WHAT = "camera"


def camera(spec: str, root: Path) -> Finding:
    """Tries the camera that is named, or the first one that is there.

    Args:
        spec: ``camera:0``, ``picamera``; "" looks for one.
        root: where ``/sys`` lies.
    """
    wanted = spec or _first(root)
    if not wanted:
        return Finding(
            _WHAT,
            "missing",
            "none is connected",
            "a USB camera: plug it in, `v4l2-ctl --list-devices` must name it; a Raspberry Pi's: "
            "`rpicam-hello --list-cameras`. Pictures of a phone and folders need none",
        )
    ok, said = child(CAMERA_PROBE, wanted)
    if not ok:
        return Finding(_WHAT, "problem", f"{wanted}: {said}", _fix(wanted, said))
    detail, _, not_fixed = said.partition("|")
    if not_fixed.strip():
        return Finding(
            _WHAT,
            "problem",
            f"{wanted}: {detail.strip()}; {not_fixed.strip()}",
            "set exposure and white_balance_k under [camera] in a --config file, or use a camera "
            "that can keep them: colours that change from field to field are not counted alike",
        )
    return Finding(_WHAT, "ok", f"{wanted}: {detail.strip()}")


def _first(root: Path) -> str:
    """The first USB camera that takes pictures, else a Raspberry Pi's."""
    folder = root / "sys" / "class" / "video4linux"
    found = sorted(folder.glob("video*"), key=_number) if folder.is_dir() else []
    for path in found:
        # A camera's second node gives no pictures but data about them.
        first = _text(path / "index") in ("", "0")
        usb = any(part.startswith("usb") for part in (path / "device").resolve().parts)
        if first and usb:
            return f"camera:{_number(path)}"
    ok, said = child(PICAMERA_LIST_PROBE)
    return "picamera" if ok and said.strip() not in ("", "0") else ""


def _number(path: Path) -> int:
    digits = path.name.removeprefix("video")
    return int(digits) if digits.isdecimal() else 10_000


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _fix(spec: str, said: str) -> str:
    if "numpy" in said or "cv2" in said:
        return "mend numpy and OpenCV first (above)"
    if spec == "picamera":
        return "rpicam-hello --list-cameras must name it; push its cable in with the power off"
    return (
        "is it plugged in, and used by nothing else (a running serve uses it)? May this user open "
        "it: sudo usermod -aG video $USER, then sign in again"
    )
