"""The engines behind one seam, with real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.bundle.file_spec import TensorSpec
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import BundleIntegrityError, UsageError
from edge_malaria.runtime.engines.base import dequantize, quantize_pixels
from edge_malaria.runtime.engines.fake import FakeEngine
from edge_malaria.runtime.engines.opening import open_engine

PIXELS = np.random.default_rng(5).integers(0, 256, (131, 48, 48, 3), dtype=np.uint8)


def opened(bundle: Path, variant: str, engine: str, threads: int = 1):
    opened_bundle = read_bundle(bundle)
    return open_engine(
        opened_bundle.read(opened_bundle.classifier.file(variant, engine).file), engine, threads
    )


@pytest.mark.parametrize("engine", ["litert", "onnx"])
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_batch_size_and_threads_change_nothing(
    tiny_bundle: Path, engine: str, variant: str
) -> None:
    whole = opened(tiny_bundle, variant, engine).run_raw(PIXELS)
    one = opened(tiny_bundle, variant, engine, threads=2)
    single = np.concatenate([one.run_raw(cell[None]) for cell in PIXELS[:9]])
    assert whole.shape == (131, 1)
    limit = 0 if variant == "int8" else 1e-5
    assert np.abs(single.astype(float) - whole[:9].astype(float)).max() <= limit


def test_int8_gives_the_same_bits_on_both_engines(tiny_bundle: Path) -> None:
    litert, onnx = (opened(tiny_bundle, "int8", name) for name in ("litert", "onnx"))
    assert (litert.run_raw(PIXELS) == onnx.run_raw(PIXELS)).all()
    assert (litert.run(PIXELS) == onnx.run(PIXELS)).all()


@pytest.mark.parametrize("name", ["default", "micro"])
def test_sums_of_int8_products_do_not_overflow(shipped_bundle: Path, name: str) -> None:
    """On processors without VNNI, ONNX Runtime's fast kernels would: one in forty of these."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 48, 48, 3), dtype=np.uint8)
    bundle = shipped_bundle.with_name(name)
    litert, onnx = (opened(bundle, "int8", engine) for engine in ("litert", "onnx"))
    assert (litert.run_raw(noise) == onnx.run_raw(noise)).all()


def test_files_that_share_constants_between_nodes_still_run(shipped_bundle: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="editing a file needs the [export] extra")
    bundle = read_bundle(shipped_bundle)
    written = bundle.read(bundle.classifier.file("int8", "onnx").file)
    model = onnx.load_model_from_string(written)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = [name for node in model.graph.node for name in node.input if name in constants]
    assert len(uses) == len(set(uses)), "written files share none"
    first: dict[bytes, str] = {}
    for name, tensor in constants.items():
        plain = onnx.TensorProto()
        plain.CopyFrom(tensor)
        plain.name = ""
        first.setdefault(plain.SerializeToString(), name)
        constants[name] = first[plain.SerializeToString()]
    for node in model.graph.node:
        node.input[:] = [constants.get(name, name) for name in node.input]
    kept = [tensor for tensor in model.graph.initializer if tensor.name in first.values()]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    assert len(kept) < len(constants)
    shared = open_engine(model.SerializeToString(), "onnx").run_raw(PIXELS)
    assert np.abs(shared.astype(int) - open_engine(written, "onnx").run_raw(PIXELS)).max() <= 1


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_no_cells_give_no_outputs(tiny_bundle: Path, engine: str) -> None:
    assert opened(tiny_bundle, "int8", engine).run(PIXELS[:0]).shape == (0, 1)


def test_int8_input_is_pixel_minus_128() -> None:
    spec = TensorSpec("x", (1,), "int8", 1.0, -128)
    levels = np.arange(256, dtype=np.uint8)
    assert (quantize_pixels(levels, spec) == levels.astype(int) - 128).all()


@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 255, -128), (1.0, 0), (1.0, -127)])
def test_another_scale_or_zero_point_is_refused(scale: float, zero_point: int) -> None:
    with pytest.raises(BundleIntegrityError, match="pixel - 128"):
        quantize_pixels(PIXELS[:1], TensorSpec("x", (1,), "int8", scale, zero_point))


@given(st.integers(-128, 127), st.floats(1e-4, 10), st.integers(-128, 127))
def test_dequantize_is_scale_times_shift(q: int, scale: float, zero_point: int) -> None:
    spec = TensorSpec("y", (1,), "int8", scale, zero_point)
    got = float(dequantize(np.array([q], np.int8), spec)[0])
    assert got == pytest.approx(scale * (q - zero_point), rel=1e-5)


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_a_damaged_model_is_an_integrity_error(engine: str) -> None:
    with pytest.raises(BundleIntegrityError, match="cannot load"):
        open_engine(b"not a model at all, but long enough to be looked at", engine)


def test_an_unknown_engine_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="litert, onnx"):
        open_engine(b"", "coral")


def test_the_fake_engine_computes_what_it_is_told() -> None:
    fake = FakeEngine(lambda batch: batch.mean(axis=(1, 2, 3)))
    assert np.allclose(fake.run(PIXELS)[:, 0], PIXELS.mean(axis=(1, 2, 3)))


def test_other_shapes_are_refused(tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        opened(tiny_bundle, "int8", "litert").run(PIXELS[0])
    with pytest.raises(ValueError, match="uint8"):
        opened(tiny_bundle, "int8", "litert").run(PIXELS.astype(np.float32))
