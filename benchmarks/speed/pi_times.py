"""Estimated times on Raspberry Pis, from counted instructions and published rates.

    python -m benchmarks.speed.pi_times

An estimate, not a measurement: no Raspberry Pi was at hand. The instructions of a field and a cell
are counted on an emulated processor of the board's kind (docs/evidence/arm_instructions.json). How
many a core does in a second is taken from the MIPS that 7-Zip reports on that board, as sbc-bench
publishes them, a quarter of the rate of all four cores at work. 7-Zip waits for memory more often
than this program, and its unit is that of another processor's instructions: a real board may take
half as long or twice as long. Heat and a weak power supply slow a board down further.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from benchmarks.evidence_file import EVIDENCE

CORES = 4
_RESULTS = "github.com/ThomasKaiser/sbc-bench/blob/master/Results.md"
_PI_5 = "github.com/ThomasKaiser/sbc-bench/blob/master/results/reviews/RPi-5B-Rev1.1.md"


@dataclass(frozen=True)
class Board:
    """A board, and what was published about it.

    Attributes:
        name: of the board.
        processor: QEMU's name of its cores.
        clock_mhz: at which the rate was measured.
        mips: of 7-Zip, all four cores together.
        source: where the rate stands.
    """

    name: str
    processor: str
    clock_mhz: int
    mips: int
    source: str

    def seconds(self, instructions: float) -> float:
        """Estimated time of so many instructions on one core."""
        return instructions / (self.mips / CORES * 1e6)


BOARDS = (
    Board("Raspberry Pi Zero 2 W", "cortex-a53", 1000, 3030, _RESULTS),
    Board("Raspberry Pi 3 B+", "cortex-a53", 1400, 3670, _RESULTS),
    Board("Raspberry Pi 4 B", "cortex-a72", 1800, 5760, _RESULTS),
    Board("Raspberry Pi 5", "cortex-a76", 2400, 11830, _PI_5),
)


def estimates() -> list[tuple[Board, float, float]]:
    """(board, seconds of a field of 5 megapixels, seconds of a cell), one core."""
    counts = json.loads((EVIDENCE / "arm_instructions.json").read_text())["counts"]
    return [
        (board, board.seconds(counts[board.processor]["field"]),
         board.seconds(counts[board.processor]["cell"]))
        for board in BOARDS
    ]  # fmt: skip


def main() -> None:
    """Prints the estimates."""
    for board, field_s, cell_s in estimates():
        print(f"{board.name}: {field_s:.1f} s a field, {1e3 * cell_s:.0f} ms a cell")


if __name__ == "__main__":
    main()
