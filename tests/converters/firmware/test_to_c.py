"""The C generator: bits of the interpreters, what is refused, what the C file is made of."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert", reason="schema and oracle come with ai-edge-litert")

from benchmarks.firmware import drawn_networks, sweep
from benchmarks.firmware.exactness import run_tflm
from benchmarks.firmware.models import OperatorSketch, TensorSketch, build_tflite
from converters import tflite_graph
from converters.firmware import network as firmware_network
from converters.firmware import to_c
from converters.firmware.check import check_on_host
from converters.firmware.steps import Refused
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import EdgeMalariaError, ModelFileError
from edge_malaria.runtime.classify.classifier import Classifier
from tests.asked_again import with_views
from tests.cli import run_cli, run_process, validate

ROOT = Path(__file__).resolve().parents[3]
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def generated(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> to_c.Firmware:
    """The shipped bundle's C files."""
    folder = tmp_path_factory.mktemp("firmware") / "c"
    return to_c.generate_from_bundle(read_bundle(shipped_bundle), folder)


@needs_compiler
@pytest.mark.slow
@settings(max_examples=18, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(drawn_networks.KINDS))
def test_every_operator_gives_the_interpreters_bits(
    seed: int, kind: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    case = kind(rng)  # type: ignore[operator]
    x = sweep.draw_inputs(rng, case, 12)
    folder = tmp_path_factory.mktemp("case")
    for rounding, reference in ((1, False), (2, True)):
        if rounding == 1 and case.operator in sweep.WITHOUT_XNNPACK:
            continue
        network = sweep.CompiledNetwork(case.tflite, folder / str(rounding), rounding=rounding)
        expected = sweep.run_litert(case.tflite, x, reference=reference)
        np.testing.assert_array_equal(network.run(x), expected, f"{case.title} {rounding}")


def _oracle() -> str:
    named = os.environ.get("EDGE_MALARIA_TFLM", str(ROOT / ".venv" / "tflm" / "bin" / "python"))
    if not Path(named).exists():
        pytest.skip("TensorFlow Lite Micro (PyPI tflite-micro) is not installed in .venv/tflm")
    return named


@needs_compiler
@pytest.mark.slow
def test_operators_and_golden_cells_give_tflm_bits(shipped_bundle: Path, tmp_path: Path) -> None:
    python, rng = _oracle(), np.random.default_rng(3)
    bundle = read_bundle(shipped_bundle)
    cells = np.load(shipped_bundle / "golden" / "cells.npz")["inputs"][:48]
    models = {
        kind.__name__: (case := kind(rng), sweep.draw_inputs(rng, case, 12))
        for kind in drawn_networks.KINDS
    }
    queue = {name: (case.tflite, x) for name, (case, x) in models.items()}
    file = bundle.classifier.file("int8", "litert").file
    queue["shipped"] = (bundle.read(file), (cells ^ np.uint8(128)).view(np.int8))
    told = run_tflm(python, queue)
    assert set(told) == set(queue)
    for name, (model, x) in queue.items():
        ours = sweep.CompiledNetwork(model, tmp_path / name, rounding=0).run(x)
        np.testing.assert_array_equal(ours, told[name], name)


@needs_compiler
def test_shipped_bundle_passes_its_golden_cells_in_every_rounding(
    generated: to_c.Firmware,
) -> None:
    assert list(generated.checks.values()) == ["identical"] * 3
    assert generated.golden_cells == to_c.DEFAULT_CELLS


@needs_compiler
def test_a_changed_weight_is_noticed(generated: to_c.Firmware, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(generated.folder, folder)
    source = (folder / to_c.SOURCE).read_text()
    start = source.index("em_weights_0[")
    changed = re.sub(r"\{\n\s+-?\d+,", "{\n  127, ", source[start:], count=1)
    (folder / to_c.SOURCE).write_text(source[:start] + changed)
    results = check_on_host(folder, (0, 1, 2))
    assert all("differ" in result for result in results.values()), results


@needs_compiler
def test_the_source_needs_no_heap_and_no_library(generated: to_c.Firmware, tmp_path: Path) -> None:
    unit = tmp_path / "model.o"
    command = ["cc", *sweep.STRICT, "-O2", "-ffreestanding", "-c"]
    subprocess.run([*command, generated.folder / to_c.SOURCE, "-o", unit], check=True)
    wanted = subprocess.run(["nm", "-u", unit], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in wanted.splitlines()}
    assert names <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}, names
    assert "#include <math.h>" not in (generated.folder / to_c.SOURCE).read_text()


@needs_compiler
@pytest.mark.slow
def test_make_in_the_directory_runs_the_golden_cells(
    generated: to_c.Firmware, tmp_path: Path
) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "-s", "-C", str(generated.folder), f"BUILD={tmp_path}", "CFLAGS=-O1"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for rounding in (0, 1, 2):
        assert f"rounding {rounding}: " in ran.stdout
    assert ran.stdout.count(" 0 output bytes differ") == 3
    golden = (generated.folder / to_c.GOLDEN).read_text()
    damaged = shutil.copytree(generated.folder, tmp_path / "damaged")
    (damaged / to_c.GOLDEN).write_text(golden.replace("[1] = {\n  {", "[1] = {\n  {1 + ", 1))
    ran = subprocess.run([*command[:3], str(damaged), "CFLAGS=-O1"], capture_output=True, text=True)
    assert ran.returncode != 0
    assert "0: 8 golden cells, 1 output bytes differ" in ran.stdout


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_optimizers_and_sanitizers_change_no_bit(
    generated: to_c.Firmware, compiler: str, tmp_path: Path
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    # firmware_examples/check.sh runs every combination; here the two ends of it.
    sanitized = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    levels = [["-O3"], sanitized if compiler == "gcc" else ["-O0"]]
    sources = [generated.folder / to_c.SOURCE, generated.folder / to_c.SELFTEST]
    for rounding, flags in enumerate(levels):
        program = tmp_path / "golden"
        macros = [f"-DEDGE_MALARIA_ROUNDING={rounding}", "-DEDGE_MALARIA_SELFTEST_MAIN"]
        common = [compiler, *sweep.STRICT, *macros, f"-I{generated.folder}", *flags]
        subprocess.run([*common, *sources, "-o", program], check=True)
        assert subprocess.run([program]).returncode == 0, (compiler, flags, rounding)


def test_raw_thresholds_decide_as_the_runtime_does(shipped_bundle: Path, tmp_path: Path) -> None:
    bundle = read_bundle(with_views(shipped_bundle, tmp_path / "bundle", 1))
    generated = to_c.generate_from_bundle(bundle, tmp_path / "c")
    cells = np.load(shipped_bundle / "golden" / "cells.npz")["inputs"]
    for point, threshold in (generated.identity.thresholds or {}).items():
        classifier = Classifier(bundle, engine="litert", operating_point=point)
        raw = classifier.engine.run_raw(cells).reshape(-1)
        told = [cell.positive for cell in classifier.predict_inputs(cells)]
        np.testing.assert_array_equal(raw >= threshold, told)
        assert 0 < sum(told) < len(told)


def _float_model() -> bytes:
    tensors = [TensorSketch((1, 4), dtype="float32"), TensorSketch((1, 4), dtype="float32")]
    return build_tflite(tensors, [OperatorSketch("LOGISTIC", (0,), (1,))], (0,), (1,))


def _mixed_model() -> bytes:
    tensors = [
        TensorSketch((1, 4)),
        TensorSketch((1, 4)),
        TensorSketch((1, 4), dtype="float32"),
    ]
    steps = [OperatorSketch("QUANTIZE", (0,), (1,)), OperatorSketch("LOGISTIC", (1,), (2,))]
    return build_tflite(tensors, steps, (0,), (2,))


def _unknown_model() -> bytes:
    tensors = [TensorSketch((1, 4)), TensorSketch((1, 4))]
    return build_tflite(tensors, [OperatorSketch("HARD_SWISH", (0,), (1,))], (0,), (1,))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_float_model(), ("not an int8 network", "operator 0 LOGISTIC", "float32")),
        (_mixed_model(), ("int8-mixed", "operator 1 LOGISTIC", "float32")),
        (_unknown_model(), ("operator 0 HARD_SWISH", "not supported", "CONV_2D")),
    ],
)
def test_what_the_kernels_lack_is_refused_by_name(model: bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refusal:
        firmware_network.lower(tflite_graph.parse_graph(model, "net.tflite"), "net.tflite")
    assert all(word in str(refusal.value) for word in words), refusal.value
    assert refusal.value.exit_code == 2


def test_sums_that_could_overflow_are_refused() -> None:
    weights = np.full((1, 1 << 16), 127, np.int8)
    tensors = [
        TensorSketch((1, 1 << 16)),
        TensorSketch(weights.shape, (0.01,), values=weights),
        TensorSketch((1, 1)),
    ]
    operator = OperatorSketch("FULLY_CONNECTED", (0, 1, -1), (2,), {})
    model = build_tflite(tensors, [operator], (0,), (2,))
    with pytest.raises(Refused, match="sums may reach"):
        firmware_network.lower(tflite_graph.parse_graph(model))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_end_in_our_errors_only(data: st.DataObject) -> None:
    model = bytearray(drawn_networks.network(np.random.default_rng(1)).tflite)
    for _ in range(data.draw(st.integers(1, 4))):
        model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(model[: data.draw(st.integers(len(model) // 2, len(model)))])
    try:
        firmware_network.lower(tflite_graph.parse_graph(kept))
    except EdgeMalariaError as error:
        assert type(error) in (Refused, ModelFileError)  # noqa: PT017


def test_command_writes_json_and_refuses_an_existing_directory(
    shipped_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    ran = run_process("firmware", shipped_bundle, "-o", out, "--cells", "2", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "firmware")
    assert {path.name for path in out.iterdir()} == {
        to_c.SOURCE, to_c.HEADER, to_c.GOLDEN, to_c.SELFTEST, to_c.MAKEFILE,
    }  # fmt: skip
    sha256 = json.loads((shipped_bundle / "bundle.json").read_text())["files"]["model.int8.tflite"]
    assert ran.json["sha256"] == sha256["sha256"]
    again = run_cli("firmware", shipped_bundle, "-o", out)
    assert again.code == 2
    assert "--force" in again.error


@pytest.mark.parametrize(("name", "code"), [("absent", 5), ("damaged", 5), ("float", 2)])
def test_command_errors_are_one_line_and_leave_nothing(
    name: str, code: int, tmp_path: Path
) -> None:
    model = tmp_path / f"{name}.tflite"
    if name == "damaged":
        model.write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 60)
    elif name == "float":
        model.write_bytes(_float_model())
    ran = run_cli("firmware", model, "-o", tmp_path / "c")
    assert ran.code == code
    assert name in ran.error
    assert not (tmp_path / "c").exists()


def test_the_oracle_script_stands_alone() -> None:
    # It must run where only numpy and tflite-micro are installed.
    source = (ROOT / "benchmarks" / "firmware" / "tflm_oracle.py").read_text()
    modules = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.M))
    allowed = {"numpy", "tflite_micro", "pathlib", "sys", "__future__"}
    assert modules <= allowed | set(sys.stdlib_module_names)
