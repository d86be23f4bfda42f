"""Builds the generated network for every bare target, runs it in qemu and checks the budget.

    python firmware_examples/targets.py GENERATED [--only NAME] [--elf DIR] [--json FILE]
                                        [--budget FILE [--update]]

GENERATED is a directory that ``edge-malaria firmware`` wrote. Each target runs the golden cells
(the exit status says whether every bit was right) and counts the instructions of one inference.
Standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ("edge_malaria_model.c", "edge_malaria_selftest.c")
TOLERANCE = 0.02
# The last one where there is a second network.
MEASURED = ("flash_bytes", "ram_bytes", "instructions", "second_instructions")


@dataclass(frozen=True)
class Chip:
    """A chip on the market, by its memory in kB."""

    name: str
    flash_kb: int
    ram_kb: int


@dataclass(frozen=True)
class Target:
    """A core, chips whose memory limits the linker enforces, and the machine that runs it.

    Attributes:
        chips: smallest first; the first that the network fits is taken.
        flash, ram, golden: start addresses on qemu's machine.
        tick_mhz: of its SysTick, which counts instructions under -icount shift=0.
    """

    name: str
    core: str
    machine: str
    chips: tuple[Chip, ...]
    flags: tuple[str, ...] = ()
    flash: int = 0x0
    ram: int = 0x20000000
    golden: int = 0x21000000
    tick_mhz: int = 25

    @property
    def riscv(self) -> bool:
        """Whether it is no Arm core."""
        return self.core.startswith("rv")


_HARD = "-mfloat-abi=hard"
TARGETS = (
    # qemu has no Cortex-M0+ with enough memory: its code (a subset) runs on the M3 machine.
    Target("cortex-m0plus", "cortex-m0plus", "mps2-an385",
           (Chip("STM32G071", 128, 36), Chip("RP2040", 2048, 264))),
    Target("cortex-m3", "cortex-m3", "mps2-an385",
           (Chip("STM32F103RC", 256, 48), Chip("STM32F103RG", 1024, 96))),
    Target("cortex-m4", "cortex-m4", "mps2-an386",
           (Chip("STM32F401CC", 256, 64), Chip("STM32F407VG", 1024, 128)),
           (_HARD, "-mfpu=fpv4-sp-d16")),
    Target("cortex-m7", "cortex-m7", "mps2-an500",
           (Chip("STM32F722", 512, 256), Chip("STM32F746", 1024, 320)),
           (_HARD, "-mfpu=fpv5-sp-d16"), golden=0x60000000),
    Target("cortex-m33", "cortex-m33", "mps2-an505",
           (Chip("STM32L552", 256, 192), Chip("STM32U575", 2048, 768)),
           (_HARD, "-mfpu=fpv5-sp-d16"), flash=0x10000000, ram=0x38000000, golden=0x80000000,
           tick_mhz=20),
    Target("cortex-m55", "cortex-m55", "mps3-an547", (Chip("Corstone-300", 512, 512),), (_HARD,),
           golden=0x60000000, tick_mhz=32),
    Target("rv32imc", "rv32imc", "virt",
           (Chip("CH32V307", 256, 64), Chip("ESP32-C3", 4096, 400)),
           ("-mabi=ilp32", "-misa-spec=2.2"),
           flash=0x80000000, ram=0x80800000, golden=0x80c00000),
)  # fmt: skip


def missing_tools(target: Target) -> list[str]:
    """Programs that this target needs and this machine lacks."""
    tools = (
        ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")
        if target.riscv
        else ("arm-none-eabi-gcc", "qemu-system-arm")
    )
    return [tool for tool in tools if shutil.which(tool) is None]


def build(target: Target, generated: Path, elf: Path, defines: tuple[str, ...] = ()) -> Chip:
    """Compiles and links for the smallest chip that the network fits.

    Raises:
        RuntimeError: it does not compile, or fits none.
    """
    for chip in target.chips:
        said = _build(target, chip, generated, elf, defines)
        if not said:
            return chip
        if "overflowed" not in said and "will not fit" not in said:
            break
    raise RuntimeError(f"{target.name}: build failed:\n{said}")


def _build(target: Target, chip: Chip, generated: Path, elf: Path, defines: tuple[str, ...]) -> str:
    """Compiles and links; returns what the compiler complained of, "" where nothing."""
    folder = HERE / ("riscv" if target.riscv else "cortex_m")
    own = ("start.S", "target.c") if target.riscv else ("startup.c", "target.c")
    core = (
        ["riscv64-unknown-elf-gcc", f"-march={target.core}", "-ffreestanding", "-nostdlib"]
        if target.riscv
        else ["arm-none-eabi-gcc", f"-mcpu={target.core}", "-mthumb", "--specs=nano.specs"]
    )
    script = folder / ("riscv.ld" if target.riscv else "cortex_m.ld")
    places = {
        "FLASH_START": target.flash, "RAM_START": target.ram, "GOLDEN_START": target.golden,
        "FLASH_KB": chip.flash_kb, "RAM_KB": chip.ram_kb,
    }  # fmt: skip
    command = [
        *core, *target.flags, "-std=c99", "-O2", "-ffunction-sections", "-fdata-sections",
        "-Wall", "-Wextra", "-Wconversion", "-Werror", f"-DTICK_MHZ={target.tick_mhz}", *defines,
        "-I", str(folder), "-I", str(HERE / "common"), "-I", str(generated),
        *(str(folder / name) for name in own),
        *(str(HERE / "common" / name) for name in ("target_main.c", "stack.c")),
        *(str(generated / name) for name in SOURCES),
        "-nostartfiles", "-Wl,--gc-sections", "-T", str(script),
        *(f"-Wl,--defsym={name}={value:#x}" for name, value in places.items()),
        *(["-lgcc"] if target.riscv else []), "-o", str(elf),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stderr.strip() or "?") if done.returncode else ""


def sizes(target: Target, elf: Path) -> dict[str, int]:
    """Flash and RAM of the linked program, golden cells and stack reserve left out."""
    tool = "riscv64-unknown-elf-size" if target.riscv else "arm-none-eabi-size"
    text = subprocess.run([tool, "-A", str(elf)], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"^\.(text|data|bss|ARM\.exidx)\s+(\d+)", text, re.M))
    part = {name: int(found.get(name, 0)) for name in ("text", "data", "bss", "ARM.exidx")}
    return {
        "flash_bytes": part["text"] + part["data"] + part["ARM.exidx"],
        "static_ram_bytes": part["data"] + part["bss"],
    }


def run(target: Target, elf: Path) -> dict[str, int]:
    """Runs the program; its ``name=number`` lines and its exit status."""
    if target.riscv:
        machine = ["qemu-system-riscv32", "-M", target.machine, "-bios", "none", "-serial", "stdio"]
    else:
        machine = ["qemu-system-arm", "-M", target.machine, "-serial", "none",
                   "-semihosting-config", "enable=on,target=native"]  # fmt: skip
    command = [*machine, "-display", "none", "-monitor", "none", "-icount", "shift=0"]
    done = subprocess.run(
        [*command, "-kernel", str(elf)],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    text = done.stdout + done.stderr
    values = {name: int(value) for name, value in re.findall(r"^(\w+)=(\d+)\r?$", text, re.M)}
    return {**values, "exit_status": done.returncode}


def measure(
    target: Target, generated: Path, defines: tuple[str, ...] = (), keep: Path | None = None
) -> dict[str, object]:
    """One row of the table; ``skipped`` or ``failed`` says why there are no figures.

    ``keep``: a directory for the linked program, ``NAME.elf``.
    """
    missing = missing_tools(target)
    if missing:
        return {"target": target.name, "skipped": f"{' and '.join(missing)} not installed"}
    with tempfile.TemporaryDirectory() as work:
        elf = (keep or Path(work)) / f"{target.name}.elf"
        try:
            chip = build(target, generated, elf, defines)
            size, result = sizes(target, elf), run(target, elf)
        except (RuntimeError, subprocess.SubprocessError, OSError) as error:
            return {"target": target.name, "failed": str(error)}
    row: dict[str, object] = {"target": target.name, "chip": chip.name, **result, **size}
    row["ram_bytes"] = size["static_ram_bytes"] + result.get("stack_bytes", 0)
    if result["exit_status"] != 0 or result.get("differing_bytes") != 0:
        row["failed"] = f"golden cells: {result}"
    return row


def budget_of(rows: list[dict[str, object]]) -> dict[str, dict[str, object]]:
    """Today's figures of each target, as the budget that later ones are held to."""
    return {str(row["target"]): {n: row[n] for n in MEASURED if n in row} for row in rows}


def over_budget(row: dict[str, object], budget: dict[str, dict[str, int]]) -> list[str]:
    """What leaves the recorded figures by more than ``TOLERANCE``, or was never recorded."""
    expected = budget.get(str(row["target"]))
    if expected is None:
        return [f"{row['target']}: not in the budget file; add it with --update"]
    return [
        f"{row['target']}: {name} is {row.get(name)}, the budget says {wanted} +-2 %"
        for name, wanted in expected.items()
        if not (abs(int(str(row.get(name, 0))) - wanted) <= TOLERANCE * wanted)
    ]


def _print(rows: list[dict[str, object]]) -> None:
    print(f"{'target':<14}{'chip':<14}{'flash':>8}{'RAM':>8}{'stack':>7}{'instructions':>14}")
    for row in rows:
        if "skipped" in row:
            print(f"{row['target']:<14}skipped: {row['skipped']}")
        elif "failed" in row:
            print(f"{row['target']:<14}FAILED: {row['failed']}")
        else:
            print(
                f"{row['target']:<14}{row['chip']:<14}{row['flash_bytes']:>8}{row['ram_bytes']:>8}"
                f"{row['stack_bytes']:>7}{row['instructions']:>14,}"
            )


def main() -> int:
    """Exit status 0: all that could run is right and within the budget; 1: not; 3: nothing ran."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("generated", type=Path)
    parser.add_argument("--budget", type=Path)
    parser.add_argument("--update", action="store_true", help="record instead of checking")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounding", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("--only", choices=[target.name for target in TARGETS], action="append")
    parser.add_argument("--elf", type=Path, help="keep the linked programs in this directory")
    options = parser.parse_args()
    for name in SOURCES:
        if not (options.generated / name).is_file():
            parser.error(
                f"{options.generated} has no {name}; write it: edge-malaria firmware -o DIR"
            )
    if options.elf:
        options.elf.mkdir(parents=True, exist_ok=True)
    chosen = [target for target in TARGETS if not options.only or target.name in options.only]
    defines = (f"-DEDGE_MALARIA_ROUNDING={options.rounding}",)
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(lambda t: measure(t, options.generated, defines, options.elf), chosen))
    _print(rows)
    ran = [row for row in rows if "skipped" not in row and "failed" not in row]
    problems = [f"{row['target']}: {row['failed']}" for row in rows if "failed" in row]
    if options.budget and options.update:
        options.budget.write_text(json.dumps(budget_of(ran), indent=2) + "\n", encoding="utf-8")
    elif options.budget:
        budget = json.loads(options.budget.read_text(encoding="utf-8"))
        problems += [line for row in ran for line in over_budget(row, budget)]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    return 1 if problems else 0 if ran else 3


if __name__ == "__main__":
    sys.exit(main())
