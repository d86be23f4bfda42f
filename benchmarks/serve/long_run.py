"""Eight hours of slides in a row, and phones that look on -> docs/evidence/long_run.json.

    python -m benchmarks.serve.long_run [--fields 20000] [--phones 20] [--windows 6]

The real ``serve`` process reads slide after slide of small drawn fields from a folder, as fast as
it can. Its memory has to stay flat, every field that was written has to be taken, no field may
take long, and systemd's watchdog has to be fed throughout. Then windows with and without
phones alternate on one slide: the rate of fields with them against the rate beside them. At the
end a camera freezes: the watchdog is not fed any more, and ``/healthz`` says why.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.evidence_file import write_evidence
from benchmarks.serve.drawn_folder import HEIGHT_PX, WIDTH_PX, DrawnFolder
from benchmarks.serve.fed_server import FedServer, memory_mb, processor_s
from benchmarks.serve.phones import looking_on
from benchmarks.serve.served import Browser, address_of, process
from benchmarks.serve.systemd_ear import SystemdEar

SEED = 31
WATCHDOG_S = 20.0
# Where two drawings look alike by chance, a frame is taken for a place that was counted already.
# That the server took every frame is waited for.
PASSED_OVER_LIMIT = 0.001
IDLE_LIMIT_MB, GROWTH_LIMIT, SLOWING_LIMIT = 150, 1.05, 0.10
_STALL_S = 3.0
# A device has one engine; the self-test would open the other one, too.
NOT_ON_A_DEVICE = ("onnxruntime", "tensorflow", "keras", "scipy", "sklearn", "matplotlib")


def flat(memory: list[tuple[int, float]]) -> dict[str, float]:
    """Memory in the second and in the last quarter of a run, MB, and the last by the second."""
    # Looks come at even distances; a short run has few of them.
    looks = len(memory)
    early = [mb for _, mb in memory[looks // 4 : max(looks // 2, looks // 4 + 1)]]
    late = [mb for _, mb in memory[3 * looks // 4 :]]
    second, fourth = statistics.median(early), statistics.median(late)
    return {
        "second_quarter_mb": round(second, 1),
        "last_quarter_mb": round(fourth, 1),
        "last_by_second": round(fourth / second, 4),
        "peak_mb": round(max(mb for _, mb in memory), 1),
    }


def slides_in_a_row(run: FedServer, fields: int, slide_fields: int, end: float) -> dict[str, Any]:
    """Slide after slide, so many fields in all."""
    started, used, slides = time.monotonic(), processor_s(run.pid), 0
    loads: list[float] = []
    while run.fields.written < fields and time.monotonic() < end:
        where = run.new_slide()
        run.read(where, min(slide_fields, fields - run.fields.written), end)
        run.drain(where)
        run.finish(where)
        slides += 1
        loads.append(os.getloadavg()[0])
        minutes = (time.monotonic() - started) / 60
        print(f"{run.fields.written} fields, {minutes:.1f} minutes", file=sys.stderr, flush=True)
    used = processor_s(run.pid) - used
    return {
        "fields_written": run.fields.written,
        "fields_counted": run.counted,
        "fields_refused": run.refused,
        "fields_passed_over": run.passed_over,
        "slides": slides,
        "field_px": [WIDTH_PX, HEIGHT_PX],
        "minutes": round((time.monotonic() - started) / 60, 1),
        "longest_between_fields_s": round(run.longest_s, 2),
        "processor_s_a_field": round(used / run.fields.written, 4),
        "machine": {"cores": os.cpu_count(), "median_load": round(statistics.median(loads), 1)},
        "memory": flat(run.memory),
    }


def with_phones(
    run: FedServer, address: str, phones: int, windows: int, s: float
) -> dict[str, Any]:
    """Alternating windows without and with phones on one slide."""
    where = run.new_slide()
    run.read(where, 10)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * windows):
        on = number % 2 == 1
        with looking_on(phones, address, where) if on else nullcontext():
            # The phones come and go outside of what is measured.
            run.read(where, sys.maxsize, time.monotonic() + 3)
            before, started = run.read(where, sys.maxsize, time.monotonic()), time.monotonic()
            after = run.read(where, sys.maxsize, started + s)
            rates[on].append((after - before) / (time.monotonic() - started))
    run.finish(where)
    ratios = [on / off for off, on in zip(rates[False], rates[True], strict=True) if off]
    return {
        "phones": phones,
        "windows": windows,
        "window_s": s,
        "fields_per_s_without": [round(rate, 3) for rate in rates[False]],
        "fields_per_s_with": [round(rate, 3) for rate in rates[True]],
        "median_ratio": round(statistics.median(ratios), 4) if ratios else None,
    }


def frozen_camera(folder: Path) -> dict[str, Any]:
    """How long until a frozen camera is told, and whether the watchdog is fed after that."""
    ear, log = SystemdEar(folder / "frozen.socket", 2.0), folder / "frozen.log"
    values = {**os.environ, **ear.environment, "EDGE_MALARIA_FORGETFUL_DISK": "1"}
    command = ["-m", "benchmarks.serve.frozen_camera", str(folder / "frozen"), str(_STALL_S)]
    with log.open("wb") as out:
        running = subprocess.Popen([sys.executable, *command], stdout=out, stderr=out, env=values)
    try:
        with httpx.Client(base_url=address_of(running, log), timeout=60) as client:
            browser = Browser(client)
            where = browser.post("/new", sample="X-1", reader="Amina").headers["location"]
            browser.post(f"{where}/start")
            started, told = time.monotonic(), None
            while told is None and time.monotonic() - started < 120:
                if client.get("/healthz").status_code == 503:
                    told = time.monotonic() - started
                time.sleep(0.1)
            # One sign may have been on its way.
            time.sleep(1.5)
            signs = len(ear.signs)
            time.sleep(5)
            fed = len(ear.signs) - signs
            stuck = "edge_malaria_stuck 1.0" in client.get("/metrics").text
    finally:
        running.kill()
        running.wait()
        ear.close()
    return {
        "stall_s": _STALL_S,
        "told_after_s": None if told is None else round(told, 1),
        "signs_of_life_after": fed,
        "metrics_say_stuck": stuck,
        "tripped": told is not None and fed == 0 and stuck,
    }


def passed(figures: dict[str, Any], phones: int) -> bool:
    """Whether every limit holds; the phones' only where they were measured."""
    run, looked = figures["slides"], figures["phones"]
    few_passed = run["fields_passed_over"] <= PASSED_OVER_LIMIT * run["fields_written"]
    slow = phones == 0 or (
        looked["median_ratio"] is not None and looked["median_ratio"] >= 1 - SLOWING_LIMIT
    )
    return (
        figures["idle_mb"] <= IDLE_LIMIT_MB
        and few_passed
        and run["memory"]["last_by_second"] <= GROWTH_LIMIT
        and figures["longest_silence_s"] <= WATCHDOG_S
        and figures["healthz"] == 200
        and figures["frozen_camera"]["tripped"]
        and slow
    )


@contextmanager
def _told_where_it_stands(server: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    """Where a run stands still, the place in the code of each of the server's threads."""
    try:
        yield
    except (RuntimeError, httpx.HTTPError):
        server.send_signal(signal.SIGABRT)
        server.wait(60)
        print(log.read_text(errors="replace")[-20_000:], file=sys.stderr)
        raise


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything, in an empty folder."""
    ear = SystemdEar(folder / "notify.socket", WATCHDOG_S)
    fields = DrawnFolder(folder / "fields", SEED)
    end = time.monotonic() + 60 * options.minutes
    words = ("--source", str(fields.folder))
    log = folder / "log"
    environment = {**ear.environment, "PYTHONFAULTHANDLER": "1"}
    with (
        process(
            folder / "data", *words, log=log, environment=environment, without=NOT_ON_A_DEVICE
        ) as (server, address),
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        client.get("/healthz")
        idle = memory_mb(server.pid)
        run = FedServer(Browser(client), server.pid, fields)
        with _told_where_it_stands(server, log):
            slides = slides_in_a_row(run, options.fields, options.slide_fields, end)
        looked: dict[str, Any] = {"not_run": "--phones 0"}
        if options.phones:
            looked = with_phones(run, address, options.phones, options.windows, options.window_s)
        silence, healthz = ear.longest_silence_s(), client.get("/healthz").status_code
    ear.close()
    return {
        "idle_mb": round(idle, 1),
        "slides": slides,
        "longest_silence_s": round(silence, 1),
        "watchdog_s": WATCHDOG_S,
        "healthz": healthz,
        "phones": looked,
        "frozen_camera": frozen_camera(folder),
    }


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=20_000)
    parser.add_argument("--slide-fields", type=int, default=500, help="fields of one slide")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--phones", type=int, default=20, help="0 leaves them out")
    parser.add_argument("--windows", type=int, default=6, help="with phones, and as many without")
    parser.add_argument("--window-s", type=float, default=20.0)
    parser.add_argument("--dry", action="store_true", help="print only")
    return parser.parse_args(words)


def main() -> int:
    """Measures and writes the evidence; 1 where a limit does not hold."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options)
    sound = passed(figures, options.phones)
    print(json.dumps(figures, indent=1))
    if not options.dry:
        command = (
            f"python -m benchmarks.serve.long_run --fields {options.fields} "
            f"--slide-fields {options.slide_fields} --phones {options.phones}"
        )
        command += f" --minutes {options.minutes:g}" if math.isfinite(options.minutes) else ""
        write_evidence("long_run", command, {"passed": sound, **figures}, SEED)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
