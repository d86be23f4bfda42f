"""ARM root file systems under qemu-user: the real wheels of the device, on this machine.

A root is built once (debootstrap unpacks Debian, pip brings the ARM wheels) and reused from
``EDGE_MALARIA_ARM_ROOTS`` or the user's cache. A program runs in it in a mount namespace of its
own, where ``/proc/cpuinfo`` is that of the chosen processor: LiteRT and ONNX Runtime read it, and
crash where it describes an x86. Without ``/sys`` XNNPACK switches itself off silently.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.device.arm_root import System, build, roots_folder
from tests.device.processors import Processor


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
        work: an empty folder for what the commands write into the copy; removed at the end.

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
    try:
        return _in_private_mounts(lines, f"commands on {processor.qemu}", timeout_s)
    finally:
        # An installed environment lies in it. What a test reads was written through ``binds``.
        shutil.rmtree(work, ignore_errors=True)


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
