"""Cross-compiles the generated network and runs it on an emulated Cortex-M, with pip alone.

    pip install -r firmware_examples/pip_only/requirements.txt
    python firmware_examples/pip_only/run.py GENERATED

For machines without apt: ``ziglang`` brings a C compiler (clang) with an Arm target, ``unicorn``
an emulated core. The network's golden cells are checked bit for bit.
"""

from __future__ import annotations

import argparse
import importlib.util
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE, STACK_TOP, RETURN = 0x10000, 0x20100000, 0x30000000
CORES = ("cortex_m0plus", "cortex_m3", "cortex_m4", "cortex_m7", "cortex_m33")


def compile_network(generated: Path, core: str, elf: Path, rounding: int) -> None:
    """Links the golden-cell check alone: no startup, no C library."""
    # The hard-float ABI changes the target triple, not the bits: soft float runs on every core.
    command = [
        sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi",
        f"-mcpu={core}", "-std=c99", "-O2", "-Wall", "-Wextra", "-ffreestanding", "-nostdlib",
        f"-DEDGE_MALARIA_ROUNDING={rounding}", "-I", str(generated),
        str(generated / "edge_malaria_model.c"), str(generated / "edge_malaria_selftest.c"),
        str(HERE / "memory.c"), "-lcompiler_rt",
        "-Wl,-e,edge_malaria_selftest", f"-Wl,--image-base={PLACE:#x}", "-static",
        "-o", str(elf),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def segments(elf: bytes) -> tuple[int, list[tuple[int, bytes, int]]]:
    """Entry point and (address, bytes, size in memory) of what is loaded, from a 32-bit ELF."""
    entry, table = struct.unpack_from("<II", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 42)
    found = []
    for index in range(count):
        kind, offset, address, _, in_file, in_memory = struct.unpack_from(
            "<6I", elf, table + index * size
        )
        if kind == 1 and in_memory:
            found.append((address, elf[offset : offset + in_file], in_memory))
    return entry, found


def run(elf: bytes) -> int:
    """Calls the entry point; what it returns."""
    import unicorn
    from unicorn import arm_const

    entry, loaded = segments(elf)
    core = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    top = max(address + size for address, _, size in loaded)
    core.mem_map(PLACE & ~0xFFF, ((top - PLACE) | 0xFFF) + 0x1001)
    core.mem_map(STACK_TOP - 0x10000, 0x10000)
    core.mem_map(RETURN, 0x1000)
    for address, data, _ in loaded:
        core.mem_write(address, data)
    core.reg_write(arm_const.UC_ARM_REG_SP, STACK_TOP)
    core.reg_write(arm_const.UC_ARM_REG_LR, RETURN | 1)
    core.emu_start(entry | 1, RETURN)
    return int(core.reg_read(arm_const.UC_ARM_REG_R0))


def main() -> int:
    """Exit status 0: every bit right on every core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generated", type=Path)
    parser.add_argument("--rounding", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("--core", action="append", choices=CORES)
    options = parser.parse_args()
    for module in ("ziglang", "unicorn"):
        if importlib.util.find_spec(module) is None:
            parser.error(f"{module} is not installed: pip install -r {HERE}/requirements.txt")
    if not (options.generated / "edge_malaria_model.c").is_file():
        parser.error(
            f"{options.generated} holds no network; write it: edge-malaria firmware -o DIR"
        )
    failed = 0
    for core in options.core or CORES:
        with tempfile.TemporaryDirectory() as work:
            elf = Path(work) / "network.elf"
            compile_network(options.generated, core, elf, options.rounding)
            differing = run(elf.read_bytes())
        print(f"{core}: {differing} output bytes differ")
        failed += differing != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
