"""The shipped bundle on ARM: the device's own wheels under qemu-user, against this machine.

``make test-device`` runs these; they are skipped with a reason where root, apt or qemu are
missing. Decoding, preparing and LiteRT's int8 must give the same bits.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.parity import LIMITS
from edge_malaria.runtime.classify.classifier import Decision
from edge_malaria.runtime.engines.base import dequantize
from edge_malaria.runtime.engines.litert import load_interpreter_module
from tests.device import arm, arm_root, processors
from tests.device.available import built_or_skipped

GUEST = Path(__file__).with_name("guest.py")
# Sums of float products in another order: the largest seen was 6e-6 of a logit.
MAX_FLOAT_LOGIT = 1e-4
# Dynamic files quantize activations at run time, and each engine version does it in its own way.
MAX_DYNAMIC_LOGIT = 0.25
# 3 of 4,067 real cells, by one step.
MAX_ONNX_SHARE = 5e-3
pytestmark = [pytest.mark.device, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def bundle(shipped_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped bundle, so that both sides read the same files for minutes."""
    return Path(shutil.copytree(shipped_bundle, tmp_path_factory.mktemp("shipped") / "bundle"))


@pytest.fixture(scope="module")
def host(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same script's output on this machine."""
    out = tmp_path_factory.mktemp("host") / "out.npz"
    subprocess.run([sys.executable, GUEST, bundle, out], check=True, timeout=300)
    with np.load(out) as stored:
        return dict(stored)


def _guest(
    system: arm_root.System, processor: processors.Processor, bundle: Path, folder: Path
) -> dict[str, Any]:
    built_or_skipped(system)
    binds = {"mnt/bundle": bundle, "mnt/out": folder}
    arm.run_python(system, processor, GUEST, ["/mnt/bundle", "/mnt/out/out.npz"], binds)
    with np.load(folder / "out.npz") as stored:
        return dict(stored)


def _compare(host: dict[str, Any], guest: dict[str, Any], steps: int) -> set[str]:
    """Asserts that the guest's outputs are the host's; returns the names compared."""
    for what in ("inputs", "resized"):
        np.testing.assert_array_equal(guest[what], host[what], f"{what}: decoding or preparing")
    names = {name for name in guest if "." in name}
    assert names <= set(host)
    for name in sorted(names):
        ours, theirs = host[name], guest[name]
        assert ours.dtype == theirs.dtype, name
        if ours.dtype == np.int8:
            apart = np.abs(ours.astype(int) - theirs.astype(int))
            # ONNX Runtime convolves the pixels and pools in float: ties may round apart.
            allowed, share = (1, MAX_ONNX_SHARE) if "onnx." in name else (steps, 1.0)
            assert apart.max() <= allowed, f"{name}: {np.count_nonzero(apart)} cells differ"
            assert np.mean(apart > 0) <= share, f"{name}: {np.count_nonzero(apart)} cells differ"
        elif name.endswith(("float32", "float16")):
            assert np.abs(ours - theirs).max() <= MAX_FLOAT_LOGIT, name
        else:
            assert np.abs(ours - theirs).max() <= MAX_DYNAMIC_LOGIT, name
    return names


@pytest.mark.parametrize(
    "processor",
    [processors.CORTEX_A53, processors.CORTEX_A72, processors.CORTEX_A76],
    ids=lambda p: p.qemu,
)
def test_aarch64_gives_the_same_bits(
    processor: processors.Processor, host: dict[str, Any], bundle: Path, tmp_path: Path
) -> None:
    guest = _guest(arm_root.AARCH64, processor, bundle, tmp_path)
    assert str(guest["machine"]) == "aarch64"
    names = _compare(host, guest, steps=0)
    assert {"litert.int8", "onnx.int8", "litert.float32", "onnx.float32"} <= names
    assert len(guest["litert.int8"]) >= 1024
    assert len(guest["second.litert.int8"]) >= 256
    # And the same as stored in the bundle on the machine that exported it.
    stored = read_goldens(read_bundle(bundle).contents).engines["litert.int8"]
    np.testing.assert_array_equal(guest["litert.int8"].reshape(-1), stored.raw)


def _builtin_kernels(bundle: Path) -> Any:
    """The int8 file on TFLite's built-in reference kernels, without XNNPACK: int8 [N]."""
    interpreter_module = load_interpreter_module()
    opened = read_bundle(bundle)
    interpreter = interpreter_module.Interpreter(
        model_content=opened.read(opened.classifier.file("int8", "litert").file),
        experimental_op_resolver_type=interpreter_module.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    entry, out = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    found = []
    for cell in read_goldens(opened.contents).cells.inputs:
        interpreter.set_tensor(entry, (cell[None] ^ np.uint8(128)).view(np.int8))
        interpreter.invoke()
        found.append(int(interpreter.get_tensor(out).reshape(-1)[0]))
    return np.array(found)


def test_32_bit_arm_decides_alike(host: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    """tflite-runtime runs TFLite's built-in kernels there, which round unlike XNNPACK's."""
    guest = _guest(arm_root.ARMV7, processors.CORTEX_A7, bundle, tmp_path)
    assert str(guest["machine"]).startswith("arm")
    limits = LIMITS["int8"]
    assert "litert.int8" in _compare(host, guest, steps=limits.golden_lsb)
    here, there = (side["litert.int8"].reshape(-1).astype(int) for side in (host, guest))
    apart = np.abs(_builtin_kernels(bundle) - there)
    assert np.mean(apart == 0) >= 0.99, "32-bit ARM no longer gives the built-in kernels' bits"
    assert apart.max() <= 1
    opened = read_bundle(bundle)
    spec, threshold = opened.classifier, opened.classifier.threshold("balanced")
    output, decision = spec.file("int8", "litert").output, Decision(spec, threshold)
    calls = [decision.probabilities(dequantize(raw, output)) >= threshold for raw in (here, there)]
    near = read_goldens(opened.contents).cells.near
    assert np.mean(calls[0][~near] == calls[1][~near]) >= limits.label_agreement
    assert np.mean(calls[0][near] == calls[1][near]) >= limits.near_agreement
