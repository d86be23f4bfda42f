"""ARM root file systems: Debian unpacked by debootstrap, the device's wheels brought by pip."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SUITE = "bookworm"  # its Python is 3.11, as on Raspberry Pi OS of the same name


@dataclass(frozen=True)
class System:
    """A root file system to build.

    Attributes:
        arch: Debian's name.
        qemu: the static emulator.
        packages: of Debian.
        wheels: pip requirements, installed apart from Debian's; ``platforms`` are their tags.
        name: of the folder; by default ``arch``.
    """

    arch: str
    qemu: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    platforms: tuple[str, ...]
    pip_options: tuple[str, ...] = ()
    name: str = field(default="", repr=False)

    @property
    def folder(self) -> Path:
        """Where the root lies."""
        return roots_folder() / (self.name or self.arch)


_PYTHON = ("python3", "python3.11", "libpython3.11-stdlib")
_AARCH64_TAGS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
AARCH64 = System(
    "arm64",
    "qemu-aarch64-static",
    _PYTHON,
    ("numpy", "opencv-python-headless", "ai-edge-litert", "onnxruntime"),
    _AARCH64_TAGS,
)
# What Raspberry Pi OS of the same suite has: Debian's Python, its numpy 1.24, room for packages.
PI_OS = System(
    "arm64",
    "qemu-aarch64-static",
    (*_PYTHON, "python3-numpy", "python3-venv"),
    (),
    _AARCH64_TAGS,
    name="pi-os",
)
# No 32-bit wheels of numpy and OpenCV are published; a 32-bit Pi takes them from Debian as well.
ARMV7 = System(
    "armhf",
    "qemu-arm-static",
    (*_PYTHON, "python3-numpy", "python3-opencv"),
    ("tflite-runtime==2.14.0",),
    ("manylinux_2_34_armv7l", "manylinux2014_armv7l", "linux_armv7l"),
    ("--no-deps",),
)


def roots_folder() -> Path:
    """Where the roots lie between runs."""
    named = os.environ.get("EDGE_MALARIA_ARM_ROOTS")
    return Path(named) if named else Path.home() / ".cache" / "edge-malaria" / "arm"


def why_not(system: System) -> str:
    """Why roots cannot be built and entered here; empty where they can.

    Installs debootstrap and qemu-user-static with apt where root may and they are missing.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return "entering another root file system needs root on Linux"
    with _one_at_a_time():
        missing = any(shutil.which(tool) is None for tool in ("debootstrap", system.qemu))
        if missing and shutil.which("apt-get") is None:
            return "debootstrap and qemu-user-static are missing and there is no apt"
        command = ["apt-get", "install", "-y", "debootstrap", "qemu-user-static"]
        if missing and subprocess.run(command, capture_output=True, timeout=300).returncode:
            return "apt cannot install debootstrap and qemu-user-static here"
    probe = ["unshare", "-m", "--propagation", "private", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "this machine does not allow mount namespaces"
    return ""


def build(system: System) -> Path:
    """The root of ``system``, built where it is not there yet.

    Raises:
        RuntimeError: Debian or the wheels cannot be fetched.
    """
    with _one_at_a_time():
        return _built(system)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keeps tests that run beside this one from installing or building the same."""
    with (Path(tempfile.gettempdir()) / "edge-malaria-arm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _built(system: System) -> Path:
    root = system.folder
    done = root / ".built"
    recipe = repr(system)
    if done.is_file() and done.read_text() == recipe:
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    _call(
        "debootstrap", "--foreign", f"--arch={system.arch}", "--variant=minbase",
        f"--include={','.join(system.packages)}", SUITE, str(root),
    )  # fmt: skip
    for package in sorted((root / "var" / "cache" / "apt" / "archives").glob("*.deb")):
        _call("dpkg-deb", "-x", str(package), str(root))
        package.unlink()
    if system.wheels:
        pip(system, "install", "--target", str(root / "opt" / "site"), *system.wheels)
    emulator = shutil.which(system.qemu)
    assert emulator is not None
    shutil.copy2(emulator, root / "usr" / "bin" / system.qemu)
    done.write_text(recipe)
    return root


def pip(system: System, action: str, *words: str) -> None:
    """``pip install`` or ``pip download`` of this machine, for the wheels of ``system``.

    Raises:
        RuntimeError: it failed.
    """
    tags = [word for tag in system.platforms for word in ("--platform", tag)]
    _call(
        sys.executable, "-m", "pip", action, "--quiet", "--disable-pip-version-check",
        "--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:", *tags,
        *system.pip_options, *words,
    )  # fmt: skip


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise RuntimeError(f"{command[0]} failed:\n{tail}")
