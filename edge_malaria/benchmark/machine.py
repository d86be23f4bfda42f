"""What this machine is, as far as it decides a measured time: processor, clock, heat, memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Bits of ``vcgencmd get_throttled`` (Raspberry Pi documentation, "vcgencmd").
_THROTTLED = {
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since start",
    17: "clock capped since start",
    18: "throttled since start",
    19: "soft temperature limit since start",
}
# Instruction sets that change which int8 kernels run.
_FEATURES = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "neon")


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        processor: the maker's name, or the architecture where none is told.
        architecture: ``platform.machine()``.
        cores: logical processors that this process may use.
        features: vector instruction sets that matter to int8, as the kernel names them.
        model: of the board, where the device tree tells it ("Raspberry Pi 4 Model B ...").
        governor: of the first core's clock, "" where unknown.
        clock_mhz: of the first core now; None where unknown.
        temperature_c: of the first thermal zone; None where there is none.
        throttled: what ``vcgencmd get_throttled`` says, in words; () elsewhere.
        memory_mib: in all; None where unknown.
        load: of the last minute, in running processes; None where unknown.
    """

    processor: str
    architecture: str
    cores: int
    features: tuple[str, ...]
    model: str
    governor: str
    clock_mhz: float | None
    temperature_c: float | None
    throttled: tuple[str, ...]
    memory_mib: int | None
    load: float | None

    def as_json(self) -> dict[str, Any]:
        """The object in the command's JSON."""
        return {**asdict(self), "features": list(self.features), "throttled": list(self.throttled)}

    @property
    def key(self) -> str:
        """Names this kind of machine: what was measured on another one does not apply here."""
        parts = (self.processor, self.architecture, self.model, *self.features, str(self.cores))
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    def warnings(self) -> list[str]:
        """What makes the times of this run doubtful."""
        found = [f"the board reports: {word}." for word in self.throttled]
        if self.governor not in ("", "performance"):
            found.append(
                f"the clock's governor is {self.governor!r}: times spread. For a stable run: "
                "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        if self.load is not None and not (self.load <= 0.5 * self.cores):
            found.append(
                f"other work is running here (load {self.load:.1f} on {self.cores} cores): "
                "compare ratios, not milliseconds."
            )
        return found


def this_machine() -> Machine:
    """Looks at the machine that this process runs on; what cannot be read is left out."""
    cpu = _text("/proc/cpuinfo")
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", cpu, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpu, re.MULTILINE)
    have = set(flags[1].split()) if flags else set()
    return Machine(
        processor=(name[1].strip() if name else platform.processor()) or platform.machine(),
        architecture=platform.machine(),
        cores=_usable_cores(),
        features=tuple(word for word in _FEATURES if word in have),
        model=_text("/proc/device-tree/model").strip("\0\n "),
        governor=_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
        clock_mhz=_number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e-3),
        temperature_c=_number("/sys/class/thermal/thermal_zone0/temp", 1e-3),
        throttled=_throttled(),
        memory_mib=_memory_mib(),
        load=_load(),
    )


def throttled_words(mask: int) -> tuple[str, ...]:
    """The bits of ``vcgencmd get_throttled`` in words."""
    return tuple(word for bit, word in _THROTTLED.items() if mask >> bit & 1)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: str, factor: float) -> float | None:
    with contextlib.suppress(ValueError):
        return round(float(_text(path)) * factor, 1)
    return None


def _memory_mib() -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def _throttled() -> tuple[str, ...]:
    try:
        ran = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"0x([0-9a-fA-F]+)", ran.stdout)
    return throttled_words(int(found[1], 16)) if found else ()
