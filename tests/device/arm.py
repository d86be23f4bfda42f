"""ARM root file systems under qemu-user: the real wheels of the device, on this machine.

A root is built once (debootstrap unpacks Debian, pip brings the ARM wheels) and reused from
``EDGE_MALARIA_ARM_ROOTS`` or the user's cache. A program runs in it in a mount namespace of its
own, where ``/proc/cpuinfo`` is that of the chosen processor: LiteRT and ONNX Runtime read it, and
crash where it describes an x86. Without ``/sys`` XNNPACK switches itself off silently.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SUITE = "bookworm"  # its Python is 3.11, as on Raspberry Pi OS of the same name
_V8 = "fp asimd evtstrm crc32 cpuid"
_V8_2 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
_V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"


@dataclass(frozen=True)
class Processor:
    """A processor that qemu-user plays: its name, MIDR part number, architecture, features."""

    qemu: str
    part: int
    architecture: int
    features: str

    @property
    def cpuinfo(self) -> str:
        """/proc/cpuinfo of two such processors."""
        return "".join(
            f"processor\t: {index}\nmodel name\t: ARM\nBogoMIPS\t: 108.00\n"
            f"Features\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: {self.architecture}\nCPU variant\t: 0x0\n"
            f"CPU part\t: {self.part:#05x}\nCPU revision\t: 3\n\n"
            for index in range(2)
        )


# Raspberry Pi 3 / Zero 2, Pi 4, Pi 5; and a 32-bit Pi 2.
CORTEX_A53 = Processor("cortex-a53", 0xD03, 8, _V8)
CORTEX_A72 = Processor("cortex-a72", 0xD08, 8, _V8)
CORTEX_A76 = Processor("cortex-a76", 0xD0B, 8, _V8_2)
CORTEX_A7 = Processor("cortex-a7", 0xC07, 7, _V7)


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


def run_python(
    system: System,
    processor: Processor,
    script: Path,
    arguments: Sequence[str],
    binds: Mapping[str, Path],
    timeout_s: float = 1200,
) -> str:
    """Runs a Python script in the root of ``system``; returns its stdout.

    Args:
        binds: place in the root -> folder of this machine. The package lies at ``/opt/em``.

    Raises:
        RuntimeError: the program failed; the message holds its last lines.
    """
    import edge_malaria

    root = build(system)
    binds = {"opt/em/edge_malaria": Path(edge_malaria.__file__).parent, **binds}
    lines = ["set -e", *_bind_lines(root, processor, {"opt/script": script.parent, **binds})]
    # Debian's BLAS is found through links that only a configured system has.
    libraries = root / "usr" / "lib" / "arm-linux-gnueabihf"
    linked = ":".join(f"/{(libraries / n).relative_to(root)}" for n in ("blas", "lapack"))
    settings = {
        "LD_LIBRARY_PATH": linked if libraries.is_dir() else "",
        "QEMU_CPU": processor.qemu,
        "PYTHONPATH": "/opt/site:/opt/em",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HOME": "/root",
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    command = ["env", "-i", *(f"{key}={value}" for key, value in settings.items())]
    command += ["/usr/sbin/chroot", str(root), f"/usr/bin/{system.qemu}", "/usr/bin/python3"]
    command += [f"/opt/script/{script.name}", *arguments]
    lines.append("exec " + shlex.join(command))
    return _in_private_mounts(lines, f"{script.name} on {processor.qemu}", timeout_s)


def run_shell(
    system: System,
    processor: Processor,
    commands: str,
    binds: Mapping[str, Path],
    work: Path,
    timeout_s: float = 1200,
) -> str:
    """Runs Bash commands in a throw-away copy of the root of ``system``; returns their stdout.

    Unlike in ``run_python``, the programs may start others: qemu is registered as the interpreter
    of the system's programs, in a user namespace of its own, so that this machine does not change.

    Args:
        work: an empty folder, which then holds what the commands wrote.

    Raises:
        CannotStartPrograms: this kernel lets no namespace register an interpreter (before 6.7),
            and the machine has none registered.
        RuntimeError: the commands failed; the message holds their last lines.
    """
    root = build(system)
    places = {name: work / name for name in ("upper", "scratch", "root")}
    for place in places.values():
        place.mkdir()
    layers = f"lowerdir={root},upperdir={places['upper']},workdir={places['scratch']}"
    merged = places["root"]
    lines = ["set -e", shlex.join(["mount", "-t", "overlay", "overlay", "-o", layers, str(merged)])]
    lines += _bind_lines(merged, processor, binds)
    quoted = shlex.quote(str(work))
    settings = {"QEMU_CPU": processor.qemu, "HOME": "/root", "LC_ALL": "C.UTF-8"}
    settings["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    inside = ["env", "-i", *(f"{key}={value}" for key, value in settings.items())]
    inside += ["/usr/sbin/chroot", str(merged), "/bin/bash", "-euo", "pipefail", "-c", commands]
    word, machine = _ELF[system.arch]
    magic = _MAGIC.format(
        name=system.qemu, word=word, machine=machine, path=shutil.which(system.qemu)
    )
    register = [
        f"mkdir {quoted}/binfmt",
        f"mount -t binfmt_misc binfmt_misc {quoted}/binfmt 2>{quoted}/why &&",
        f"printf %s {shlex.quote(magic)} >{quoted}/binfmt/register 2>{quoted}/why ||",
        f"chroot {shlex.quote(str(merged))} /bin/true || exit {_NO_INTERPRETER}",
        "exec " + shlex.join(inside),
    ]
    user = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", "\n".join(register)]
    lines.append("exec " + shlex.join(user))
    return _in_private_mounts(lines, f"commands on {processor.qemu}", timeout_s)


# An ELF program, little-endian, of a class (32 or 64 bit) and a machine; F: opened now, so that it
# is there in any root.
_MAGIC = (
    r":{name}:M::\x7fELF{word}\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00{machine}\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{path}:F"
)
_ELF = {"arm64": (r"\x02", r"\xb7"), "armhf": (r"\x01", r"\x28")}
_NO_INTERPRETER = 77


class CannotStartPrograms(RuntimeError):
    """Nothing here starts the guest's programs when other programs call them."""


def _bind_lines(root: Path, processor: Processor, binds: Mapping[str, Path]) -> list[str]:
    """Commands that mount the machine's devices, the processor's cpuinfo and ``binds``."""
    cpuinfo = roots_folder() / f"cpuinfo.{processor.qemu}"
    cpuinfo.write_text(processor.cpuinfo)
    mounts = {
        "proc": Path("/proc"),
        "proc/cpuinfo": cpuinfo,
        "sys": Path("/sys"),
        "dev": Path("/dev"),
        **binds,
    }
    lines = []
    for place, source in mounts.items():
        target = shlex.quote(str(root / place.lstrip("/")))
        if not source.is_file():
            lines.append(f"mkdir -p {target}")
        lines.append(f"mount --bind {shlex.quote(str(source))} {target}")
    return lines


def _in_private_mounts(lines: Sequence[str], name: str, timeout_s: float) -> str:
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "bash", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if done.returncode == _NO_INTERPRETER:
        raise CannotStartPrograms("this kernel lets no namespace register qemu in binfmt_misc")
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise RuntimeError(f"{name} ended with {done.returncode}:\n{tail}")
    return done.stdout
