"""``edge-malaria benchmark``: real engines, fair rounds, a choice that is remembered."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.benchmark.chosen import fastest_engine, record_path, remember
from edge_malaria.benchmark.contestants import of_bundle, of_file
from edge_malaria.benchmark.machine import this_machine, throttled_words
from edge_malaria.benchmark.networks import Plan, Row, measure, slow_int8
from edge_malaria.benchmark.rounds import WARM_UPS, Timing, interleaved, ratio
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import UsageError
from tests.cli import run_cli, run_process, validate


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_MALARIA_CACHE", str(tmp_path / "cache"))


def test_rounds_give_everybody_a_turn_and_time_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    clock = [0.0]
    # A busy machine would make any of them the slower one.
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run(name: str, seconds: float) -> object:
        order.append(name)
        clock[0] += seconds
        return None

    times = interleaved(
        {"slow": (lambda: run("slow", 0.02), 2), "fast": (lambda: run("fast", 0.004), 1)}, 4
    )
    rounds = [order[i : i + 2] for i in range(2 * WARM_UPS, len(order), 2)]
    assert [set(pair) for pair in rounds] == [{"slow", "fast"}] * 4
    assert rounds[0] != rounds[1], "the first place moves on"
    assert times["slow"].median_us == pytest.approx(10_000)
    assert times["slow"].p95_us >= times["slow"].median_us >= times["slow"].fastest_us
    assert ratio(times["slow"], times["fast"]) == pytest.approx(2.5)


def test_every_variant_and_engine_of_a_bundle_takes_part(shipped_bundle: Path) -> None:
    bundle = read_bundle(shipped_bundle)
    contestants, missing = of_bundle(bundle)
    files = {(v, e) for v, by in bundle.classifier.variants.items() for e in by}
    assert files <= {(c.variant, c.engine) for c in contestants}
    assert {c.engine for c in contestants} | {m.name.split()[-1] for m in missing} >= {
        "litert",
        "onnx",
        "opencv-dnn",
    }
    assert len({c.macs for c in contestants}) == 1 and contestants[0].macs


def test_a_table_of_a_real_bundle_with_shares_of_a_measured_peak(shipped_bundle: Path) -> None:
    contestants, missing = of_bundle(read_bundle(shipped_bundle))
    plan = Plan(threads=(1,), batches=(1, 8), rounds=3, alone=False)
    steps: list[int] = []
    found = measure(contestants, plan, missing, lambda: steps.append(1))
    assert len(steps) == plan.steps(len(contestants))
    assert len(found.rows) == 2 * len(contestants)
    assert {peak.arithmetic for peak in found.peaks} == {"float32", "int8"}
    shares = [r.share_of_peak for r in found.rows if r.engine == "litert"]
    assert all(s is not None and 0 < s <= 1 for s in shares)
    assert {fast.split()[1] for fast, _, _ in found.ratios} == {"int8"}


def test_a_slower_int8_file_is_named() -> None:
    def row(variant: str, us: float) -> Row:
        return Row("m", variant, "onnx", 1, 64, 1, 1, us, us, us, 0.0, None, None, None)

    (words,) = slow_int8([row("int8", 30.0), row("float32", 12.0)])
    assert "onnx" in words and "slower than float32" in words
    assert slow_int8([row("int8", 12.0), row("float32", 12.0)]) == []
    assert slow_int8([row("int8", float("nan")), row("float32", 12.0)])


def test_auto_uses_what_was_measured_here_and_nothing_else(shipped_bundle: Path) -> None:
    bundle, machine = read_bundle(shipped_bundle), this_machine()
    with pytest.raises(UsageError, match="was not measured on this board"):
        fastest_engine(bundle, "int8", machine)

    def row(engine: str, us: float) -> Row:
        return Row(bundle.name, "int8", engine, 1, 64, 1, 1, us, us, us, 0.0, None, None, None)

    assert remember(bundle, [row("litert", 9.0), row("onnx", 5.0)], machine) == {"int8": "onnx"}
    assert fastest_engine(bundle, "int8", machine) == "onnx"
    text = record_path().read_text()
    record_path().write_text(text.replace('"version": "', '"version": "0.'))
    with pytest.raises(UsageError, match="has changed"):
        fastest_engine(bundle, "int8", machine)
    record_path().write_text("[1, 2")
    with pytest.raises(UsageError, match="was not measured"):
        fastest_engine(bundle, "int8", machine)


def test_the_throttling_flags_of_a_raspberry_pi_in_words() -> None:
    assert throttled_words(0) == ()
    assert throttled_words(0x50005) == (
        "under-voltage now",
        "throttled now",
        "under-voltage since start",
        "throttled since start",
    )


def test_a_timing_without_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        Timing(np.array([]), 1)


@pytest.mark.slow
def test_the_command_prints_json_and_csv(shipped_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "times.csv"
    other = shipped_bundle / "model.float32.onnx"
    ran = run_process(
        "benchmark",
        *(shipped_bundle, "--against", other, "--threads", "1", "--batch", "1,4"),
        *("--rounds", "3", "--csv", table, "--json"),
    )
    assert ran.code == 0, ran.err
    validate(ran.json, "benchmark")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == len(ran.json["rows"])
    assert {row["model"] for row in rows} >= {"default", "model.float32"}
    litert = next(r for r in ran.json["rows"] if r["engine"] == "litert")
    assert litert["peak_mib"] > 20 and litert["start_ms"] > 0
    chosen = ran.json["fastest_engine"]["int8"]
    crop = shipped_bundle / "golden" / "crops" / "crop00.png"
    auto = run_cli("classify", crop, "--bundle", shipped_bundle, "--engine", "auto", "--json")
    assert auto.code == 0, auto.err
    assert f"engine: {chosen}, the fastest for int8 on this board" in auto.err
    unknown = run_cli("classify", crop, "--bundle", "micro", "--engine", "auto")
    assert unknown.code == 2 and "edge-malaria benchmark" in unknown.error


def test_other_files_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "model.pb"
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match="expected a bundle"):
        of_file(path)
