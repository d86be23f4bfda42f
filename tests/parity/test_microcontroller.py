"""The C file and TensorFlow Lite Micro in the matrix; faults planted in the C file from outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="generating C needs ai-edge-litert")

from converters.firmware import c_engine, to_c
from converters.firmware.engines import firmware_engines, split_names
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import EnvironmentProblem, GateFailed, ModelFileError, UsageError
from edge_malaria.parity import ParityReport, Twin, gate
from edge_malaria.parity.exact import stored_failures
from edge_malaria.parity.numeric import Outputs
from tests.cli import run_cli, validate

ROOT = Path(__file__).resolve().parents[2]
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def micro() -> Path:
    """One network, whose C file takes a thirtieth of the time of ``default``'s two."""
    return SHIPPED_MODELS / "micro"


@pytest.fixture(scope="module")
def bundle(micro: Path) -> Bundle:
    return read_bundle(micro)


@pytest.fixture(scope="module")
def firmware(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``edge-malaria firmware`` writes for the shipped bundle."""
    folder = tmp_path_factory.mktemp("firmware") / "c"
    to_c.generate_from_bundle(bundle, folder, cells=2)
    return folder


def _gate(bundle: Bundle, folder: Path | None) -> ParityReport:
    small = firmware_engines(bundle, ["c"], folder)
    return gate(
        bundle,
        engines=["litert"],
        extra=small.engines,
        twins=small.twins,
        left_out=small.left_out,
        finder=False,
        second=small.beside(),
    )


def _messages(report: ParityReport) -> list[str]:
    return [failure.message for failure in report.all_failures()]


@needs_compiler
def test_the_c_file_joins_the_matrix_and_gives_litert_s_bits(
    bundle: Bundle, firmware: Path
) -> None:
    report = _gate(bundle, firmware)
    assert _messages(report) == []
    assert report.passed
    bits = {(p.reference, p.candidate): p.bit_identical for p in report.pairs}
    assert bits["litert.int8", "c-xnnpack.int8"]
    assert ("keras", "c.int8") in bits
    assert any("tflm.int8: that did not run" in line for line in report.not_run)


@needs_compiler
def test_the_command_compiles_both_networks_without_being_asked(asking: Path) -> None:
    ran = run_cli("parity", asking, "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "parity")
    pairs = {(pair["reference"], pair["candidate"]) for pair in ran.json["pairs"]}
    for of in ("", "second/"):
        assert (f"{of}keras", f"{of}c.int8") in pairs
        assert (f"{of}litert.int8", f"{of}c-xnnpack.int8") in pairs


@needs_compiler
def test_the_int8_files_of_other_engines_may_be_left_out(micro: Path) -> None:
    ran = run_cli("parity", micro, "--engine", "c", "--json")
    assert ran.code == 0, ran.err
    assert {p["candidate"] for p in ran.json["pairs"]} == {"c.int8", "c-xnnpack.int8"}
    assert any("litert.int8: that did not run" in line for line in ran.json["not_run"])
    assert not any(line.startswith(("tflm", "onnx")) for line in ran.json["not_run"])


def _edited(
    name: str, pattern: str, change: Callable[[re.Match[str]], str]
) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        text = (folder / name).read_text()
        new, count = re.subn(pattern, change, text, count=1, flags=re.DOTALL)
        assert count == 1 and new != text
        (folder / name).write_text(new)

    return plant


def _other_number(match: re.Match[str]) -> str:
    """The array with its middle number moved by 9."""
    numbers = [int(word) for word in re.findall(r"-?\d+", match[2])]
    middle = len(numbers) // 2
    numbers[middle] += 9 if numbers[middle] < 100 else -9
    return f"{match[1]}{', '.join(map(str, numbers))}{match[3]}"


_WEIGHTS = r"(static const int8_t em_weights_\d+\[\d+\] = \{)(.*?)(\};)"
# Rounding 0 and 2 multiply by these, rounding 1 does not read them.
_MULTIPLIERS = r"(static const int32_t em_multiplier_\d+\[\d+\] = \{)(.*?)(\};)"
_SOURCE, _HEADER = c_engine.SOURCE, c_engine.HEADER


def _double(match: re.Match[str]) -> str:
    return f"{match[1]}(2 * {match[2]})"


def _halved_multipliers(match: re.Match[str]) -> str:
    numbers = [int(word) // 2 for word in re.findall(r"-?\d+", match[2])]
    return f"{match[1]}{', '.join(map(str, numbers))}{match[3]}"


@needs_compiler
@pytest.mark.parametrize(
    ("plant", "subject", "words"),
    [
        (_edited(_SOURCE, _WEIGHTS, _other_number), "c-xnnpack.int8", "em_weights_"),
        (_edited(_SOURCE, _MULTIPLIERS, _halved_multipliers), "c.int8", "em_multiplier_"),
        (
            _edited(_HEADER, r"(#define EDGE_MALARIA_OUTPUT_SCALE )(\S+)", _double),
            "c-xnnpack.int8",
            "wrong scale",
        ),
        (
            _edited(
                _SOURCE,
                r"(static void em_run\(void\) \{)",
                lambda m: m[1] + "\n  __builtin_trap();",
            ),
            "c.int8",
            "ended with status",
        ),
    ],
    ids=["a weight", "a multiplier", "the header's scale", "a crash"],
)
def test_a_fault_in_the_c_file_is_refused_and_named(
    plant: Callable[[Path], None],
    subject: str,
    words: str,
    bundle: Bundle,
    firmware: Path,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(firmware, tmp_path / "c"))
    plant(folder)
    report = _gate(bundle, folder)
    assert not report.passed
    named = [f for f in report.all_failures() if f.subject == subject and words in f.message]
    assert named, _messages(report)
    # The bundle's own files are not blamed.
    assert all(f.subject.startswith("c") for f in report.all_failures()), _messages(report)


@needs_compiler
def test_a_c_file_that_never_answers_is_refused_in_words(
    bundle: Bundle, firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(firmware, tmp_path / "c"))
    loop = r"(static void em_run\(void\) \{)"
    _edited(_SOURCE, loop, lambda m: m[1] + "\n  for (volatile int i = 0;; i++) {}")(folder)
    size = bundle.classifier.size_px
    engine = c_engine.CEngine(folder, 0, size)
    monkeypatch.setattr(c_engine, "_PART_LIMIT_S", 1)
    with pytest.raises(RuntimeError, match="no answer to 3 cells within 1 s"):
        engine.run_raw(np.zeros((3, size, size, 3), np.uint8))


@needs_compiler
def test_the_c_file_of_another_network_is_refused(firmware: Path, tiny_bundle: Path) -> None:
    report = _gate(read_bundle(tiny_bundle), firmware)
    assert not report.passed
    assert any("generated from another network" in message for message in _messages(report))


@needs_compiler
def test_the_command_refuses_a_faulty_firmware_folder(
    micro: Path, firmware: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(firmware, tmp_path / "c"))
    _edited(_SOURCE, _WEIGHTS, _other_number)(folder)
    ran = run_cli("parity", micro, "--engine", "litert,c", "--firmware", folder, "--json")
    assert ran.code == 1
    assert "em_weights_" in ran.err
    (folder / _SOURCE).write_text("no C at all\n")
    broken = run_cli("parity", micro, "--firmware", folder)
    assert broken.code == GateFailed.exit_code and "does not compile" in broken.err
    empty = run_cli("parity", micro, "--firmware", tmp_path)
    assert empty.code == ModelFileError.exit_code and "edge-malaria firmware" in empty.err


def test_without_a_compiler_c_is_named_and_not_run(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    small = firmware_engines(bundle, None)
    assert not any(name.startswith("c") for name in small.engines)
    assert any(line.startswith("c.int8: no C compiler") for line in small.left_out)
    with pytest.raises(EnvironmentProblem, match="no C compiler"):
        firmware_engines(bundle, ["c"])


def test_names_are_sorted_to_their_makers() -> None:
    assert split_names(None) == (None, None)
    assert split_names(["tflm", "onnx", "c"]) == (["onnx"], ["tflm", "c"])
    with pytest.raises(UsageError, match="expected one of litert, onnx, c, tflm"):
        split_names(["tensorrt"])


def test_tflm_that_is_named_and_missing_ends_with_3(micro: Path) -> None:
    if firmware_engines(read_bundle(micro), ["tflm"] if _has_tflm() else []).engines:
        pytest.skip("tflite-micro is installed beside the project")
    ran = run_cli("parity", micro, "--engine", "tflm")
    assert ran.code == 3 and "pip install --pre tflite-micro" in ran.err


def _has_tflm() -> bool:
    from converters.firmware.tflm_engine import has_tflm

    return has_tflm()


@needs_compiler
@pytest.mark.slow
def test_the_c_file_gives_tflm_s_bits(micro: Path, tmp_path: Path) -> None:
    named = Path(os.environ.get("EDGE_MALARIA_TFLM", ROOT / ".venv" / "tflm" / "bin" / "python"))
    found = sorted(named.parent.parent.glob("lib/python*/site-packages/tflite_micro"))
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not found or version not in str(found[0]):
        pytest.skip(f"TensorFlow Lite Micro (PyPI tflite-micro) for {version} is not installed")
    for name in ("tflite_micro", "yaml", "_yaml"):
        (tmp_path / name).symlink_to(found[0].with_name(name))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edge_malaria.cli.app", "parity", str(micro)),
            *("--engine", "litert,c,tflm", "--markdown", str(tmp_path / "p.md")),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "p.md").read_text()
    assert re.search(r"\| tflm.int8 \| c.int8 \|.*\| identical \| passed \|", table), table


def test_no_golden_cell_with_known_bits_is_no_pass() -> None:
    raw = np.array([3, -4], np.int8)
    outputs = Outputs("c.int8", raw, raw.astype(np.float32), 1.0)
    none = Twin("reference kernels", "", np.zeros(0, np.intp), np.zeros(0, np.int8))
    both = Twin("reference kernels", "", np.arange(2), raw)
    assert not stored_failures(outputs, {"c.int8": [both]})
    (failure,) = stored_failures(outputs, {"c.int8": [none]})
    assert "golden cells with known bits" in failure.message
