"""The processors that qemu-user plays, as /proc/cpuinfo describes them."""

from __future__ import annotations

from dataclasses import dataclass

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
