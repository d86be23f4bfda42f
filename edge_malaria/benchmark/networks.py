"""Networks against each other on this machine: times, work, memory, shares of peak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from edge_malaria.benchmark.child import Alone, measure_alone
from edge_malaria.benchmark.contestants import Contestant, NotRun, Run, batches
from edge_malaria.benchmark.peak import Peak, arithmetic_of, probe, probe_batch, throughput
from edge_malaria.benchmark.rounds import Timing, interleaved, ratio
from edge_malaria.errors import EdgeMalariaError

BATCHES = (1, 16, 64)
# Within these the machine's noise decides, not the file.
FASTER_BY = 1.05


@dataclass(frozen=True)
class Row:
    """One contestant at one number of threads and one batch.

    Attributes:
        model, variant, engine: who.
        threads, batch: how.
        bytes: of the model file.
        macs: multiply-accumulates a cell; None where they cannot be counted.
        median_us, p95_us, fastest_us: a cell.
        spread: interquartile range over median of the rounds.
        share_of_peak: of the probe's throughput at the same threads, 0-1; None without a probe.
        start_ms, peak_mib: in a process of its own, see ``child``; None where not measured.
    """

    model: str
    variant: str
    engine: str
    threads: int
    batch: int
    bytes: int
    macs: int | None
    median_us: float
    p95_us: float
    fastest_us: float
    spread: float
    share_of_peak: float | None
    start_ms: float | None
    peak_mib: float | None

    def as_json(self) -> dict[str, Any]:
        """The object in the command's JSON; also the columns of its CSV."""
        return asdict(self)


@dataclass(frozen=True)
class Networks:
    """What came out.

    Attributes:
        rows: sorted by batch, threads and median time.
        peaks: of the probe.
        not_run: who could not take part, and why.
        ratios: "A is N times as fast as B" at one thread and the largest batch: (A, B, N), against
            the bundle's own int8 file.
        warnings: what the reader should know first.
    """

    rows: tuple[Row, ...]
    peaks: tuple[Peak, ...]
    not_run: tuple[NotRun, ...]
    ratios: tuple[tuple[str, str, float], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        threads: settings of threads, each measured in rounds of its own.
        batches: cells a run.
        rounds: how often each contestant runs.
        alone: also measure start and memory, in a process a file.
    """

    threads: tuple[int, ...]
    batches: tuple[int, ...] = BATCHES
    rounds: int = 30
    alone: bool = True

    def steps(self, contestants: int) -> int:
        """How many timed runs there will be, the probe's included."""
        return len(self.threads) * len(self.batches) * self.rounds * (contestants + 2)


def measure(
    contestants: Sequence[Contestant],
    plan: Plan,
    not_run: Sequence[NotRun] = (),
    step: Callable[[], None] = lambda: None,
) -> Networks:
    """Runs every contestant and the probe in turn, round after round.

    Args:
        contestants: at least one; the first int8 one is what the ratios are told against.
        plan: how.
        not_run: who is known to be missing.
        step: called after each timed run.
    """
    missing = list(not_run)
    alone = _alone(contestants, plan, missing)
    rows: list[Row] = []
    peaks: list[Peak] = []
    ratios: list[tuple[str, str, float]] = []
    for threads in plan.threads:
        opened = _opened(contestants, threads, missing)
        probes = _probes(threads, missing)
        best: dict[str, float] = {}
        timed: list[tuple[int, dict[str, Timing]]] = []
        for size in plan.batches:
            times = interleaved(_runs(opened, probes, size), plan.rounds, step)
            for arithmetic, (contestant, _) in probes.items():
                found = throughput(times.pop(contestant.name), contestant.macs or 0)
                best[arithmetic] = max(best.get(arithmetic, 0.0), found)
            for contestant, _ in opened:
                # Nothing is faster than the peak: a disturbed probe must not say so.
                own = throughput(times[contestant.name], contestant.macs or 0)
                arithmetic = arithmetic_of(contestant.variant)
                best[arithmetic] = max(best.get(arithmetic, 0.0), own)
            timed.append((size, times))
        peaks += [Peak(name, threads, round(value, 2)) for name, value in best.items()]
        for size, times in timed:
            for contestant, _ in opened:
                timing = times[contestant.name]
                rows.append(_row(contestant, timing, threads, size, best, alone))
        if threads == min(plan.threads) and timed:
            ratios = _ratios(opened, timed[-1][1])
    rows.sort(key=lambda row: (row.batch, row.threads, row.median_us))
    return Networks(
        tuple(rows), tuple(peaks), tuple(missing), tuple(ratios), tuple(slow_int8(rows))
    )


def slow_int8(rows: Sequence[Row]) -> list[str]:
    """A sentence for each engine whose int8 file is slower here than its float32 one."""
    found = []
    largest = max((row.batch for row in rows), default=0)
    for row in rows:
        if row.variant != "int8" or row.batch != largest:
            continue
        same = (row.model, row.engine, row.threads, row.batch)
        rival = [
            r
            for r in rows
            if r.variant == "float32" and (r.model, r.engine, r.threads, r.batch) == same
        ]
        if rival and not (row.median_us <= FASTER_BY * rival[0].median_us):
            found.append(
                f"int8 is slower than float32 on {row.engine} here with {row.threads} "
                f"thread{'s' if row.threads > 1 else ''}: {row.median_us:.0f} against "
                f"{rival[0].median_us:.0f} us a cell. This processor has no fast int8 kernels "
                "for it; the float32 file gives the same calls."
            )
    return found


def _alone(
    contestants: Sequence[Contestant], plan: Plan, missing: list[NotRun]
) -> dict[str, Alone]:
    found = {}
    for contestant in contestants:
        if not plan.alone or contestant.source is None:
            continue
        answer = measure_alone(
            contestant.source, contestant.engine, contestant.size_px, max(plan.batches)
        )
        if isinstance(answer, Alone):
            found[contestant.name] = answer
        else:
            missing.append(NotRun(f"{contestant.name}: start and memory", answer))
    return found


def _opened(
    contestants: Sequence[Contestant], threads: int, missing: list[NotRun]
) -> list[tuple[Contestant, Run]]:
    opened = []
    for contestant in contestants:
        try:
            opened.append((contestant, contestant.open(threads)))
        except (EdgeMalariaError, ValueError, RuntimeError) as error:
            missing.append(NotRun(f"{contestant.name}, {threads} threads", str(error)))
    return opened


def _probes(threads: int, missing: list[NotRun]) -> dict[str, tuple[Contestant, Run]]:
    found = {}
    for arithmetic in ("float32", "int8"):
        contestant = probe(arithmetic)
        try:
            found[arithmetic] = (contestant, contestant.open(threads))
        except EdgeMalariaError as error:
            missing.append(NotRun(f"probe of {arithmetic}", str(error)))
    return found


def _runs(
    opened: Sequence[tuple[Contestant, Run]],
    probes: dict[str, tuple[Contestant, Run]],
    size: int,
) -> dict[str, tuple[Callable[[], object], int]]:
    runs: dict[str, tuple[Callable[[], object], int]] = {}
    for contestant, run in opened:
        batch = next(batches([size], contestant.size_px))[1]
        runs[contestant.name] = (partial(run, batch), size)
    count, pixels = probe_batch()
    for contestant, run in probes.values():
        runs[contestant.name] = (partial(run, pixels), count)
    return runs


def _row(
    contestant: Contestant,
    timing: Timing,
    threads: int,
    size: int,
    peaks: dict[str, float],
    alone: dict[str, Alone],
) -> Row:
    peak = peaks.get(arithmetic_of(contestant.variant))
    share = None
    if contestant.macs and peak:
        share = round(throughput(timing, contestant.macs) / peak, 3)
    own = alone.get(contestant.name)
    return Row(
        *(contestant.model, contestant.variant, contestant.engine, threads, size),
        *(contestant.size_bytes, contestant.macs),
        *(round(timing.median_us, 2), round(timing.p95_us, 2), round(timing.fastest_us, 2)),
        round(timing.spread, 3),
        share,
        own.start_ms if own else None,
        own.peak_mib if own else None,
    )


def _ratios(
    opened: Sequence[tuple[Contestant, Run]], times: dict[str, Timing]
) -> list[tuple[str, str, float]]:
    base = next((c for c, _ in opened if c.variant == "int8" and c.engine == "litert"), None)
    if base is None:
        return []
    return [
        (base.name, other.name, round(ratio(times[other.name], times[base.name]), 2))
        for other, _ in opened
        if other is not base
    ]
