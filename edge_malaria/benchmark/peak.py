"""What this machine's arithmetic units give at best: the yardstick that networks are held against.

The probe is a stack of 1 x 1 convolutions over 128 channels: a matrix product in the engine's own
kernels, large enough to keep the units busy and small enough to stay in the cache. Its two files
are written by ``python -m tools.build_probe``. Shares of a peak measured in the same run hold on
any machine; published peaks do not know the clock, the heat and the neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from edge_malaria.benchmark.contestants import Contestant, batches
from edge_malaria.benchmark.rounds import Timing
from edge_malaria.parity.tflite_costs import file_costs
from edge_malaria.records import Image
from edge_malaria.runtime.engines.opening import open_engine

SIDE_PX = 32
CELLS = 2
FILES = {"float32": "probe.float16.tflite", "int8": "probe.int8.tflite"}


@dataclass(frozen=True)
class Peak:
    """The highest throughput seen in a run: the probe's, or a network's where that was faster.

    Attributes:
        arithmetic: ``float32`` or ``int8``.
        threads: of the engine.
        gmacs_per_s: thousand million multiply-accumulates a second, in the fastest round.
    """

    arithmetic: str
    threads: int
    gmacs_per_s: float


def probe(arithmetic: str) -> Contestant:
    """The probe as a contestant; for float32 its weights are stored in 16 bits."""
    data = resources.files("edge_malaria.benchmark").joinpath(FILES[arithmetic]).read_bytes()
    return Contestant(
        model="probe",
        variant=arithmetic,
        engine="litert",
        size_px=SIDE_PX,
        size_bytes=len(data),
        macs=file_costs(data).macs,
        open=lambda threads: open_engine(data, "litert", threads).run,
        source=data,
    )


def throughput(timing: Timing, macs: int) -> float:
    """Thousand million multiply-accumulates a second, by the fastest round."""
    return macs / timing.fastest_us / 1e3


def arithmetic_of(variant: str) -> str:
    """Which peak a variant is held against; ``dynamic`` files multiply in whole numbers too."""
    return "int8" if variant in ("int8", "dynamic") else "float32"


def probe_batch() -> tuple[int, Image]:
    """(N, uint8 [N, S, S, 3]) for the probe."""
    return next(batches([CELLS], SIDE_PX))
