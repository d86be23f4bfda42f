"""Both networks of a bundle in one C file: what Python decides, cell by cell."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the generator reads .tflite with its schema")

from converters.firmware import to_c
from converters.firmware.check import check_on_host
from converters.firmware.engines import firmware_engines
from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.records import Image
from edge_malaria.runtime.classify.classifier import Classifier
from tests.cli import run_cli, validate
from tests.converters.firmware.c_library import LABELS, classified, compiled, golden_and_drawn
from tests.second import with_second

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from edge_malaria.bundle.shipped import shipped_bundle

    target = tmp_path_factory.mktemp("asking") / "b"
    return read_bundle(with_second(shipped_bundle("micro"), target, temperature=1.6, bias=-0.7))


@pytest.fixture(scope="module")
def generated(asking: Bundle, tmp_path_factory: pytest.TempPathFactory) -> to_c.Firmware:
    return to_c.generate_from_bundle(asking, tmp_path_factory.mktemp("c") / "c")


@pytest.fixture(scope="module")
def library(generated: to_c.Firmware, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compiled(generated.folder, tmp_path_factory.mktemp("library") / "model.so")


@pytest.fixture(scope="module")
def cells(asking: Bundle) -> Image:
    return golden_and_drawn(asking, 200)


@pytest.mark.parametrize("point", ["balanced", "screening"])
def test_the_c_file_decides_as_python_does(
    asking: Bundle, generated: to_c.Firmware, library: ctypes.CDLL, cells: Image, point: str
) -> None:
    classifier = Classifier(asking, engine="litert", operating_point=point)
    told = classifier.predict_inputs(cells)
    threshold = (generated.identity.thresholds or {})[point]
    for cell, expected in zip(cells, told, strict=True):
        result = classified(library, cell, threshold)
        assert bool(result.positive) == expected.positive
        assert result.permille == np.rint(expected.p_parasitized * 1000)
        assert LABELS[result.label] == ("parasitized" if expected.positive else "uninfected")
    again = classifier.asks_again(classifier.logits(cells))
    assert again.any() and not again.all()


def test_two_networks_share_working_memory_and_kernels(generated: to_c.Firmware) -> None:
    source = (generated.folder / to_c.SOURCE).read_text()
    assert source.count("em_arena;") == 1
    assert source.count("static void em_conv(") == 1
    assert generated.identity.second is not None
    assert generated.ram_bytes == generated.identity.second.network.plan.arena_bytes


def test_the_self_test_runs_the_second_network(generated: to_c.Firmware, tmp_path: Path) -> None:
    assert list(generated.checks.values()) == ["identical"] * 3
    folder = Path(shutil.copytree(generated.folder, tmp_path / "c"))
    source = (folder / to_c.SOURCE).read_text()
    start = source.index("static void em_run_second")
    call = source[start:].splitlines()[1]
    (folder / to_c.SOURCE).write_text(source[:start] + source[start:].replace(call, "", 1))
    results = check_on_host(folder, (0, 1, 2))
    assert all("differ" in result for result in results.values()), results


def test_the_engines_run_each_network_of_a_written_file(
    asking: Bundle, generated: to_c.Firmware, cells: Image
) -> None:
    written = firmware_engines(asking, ["c"], generated.folder)
    assert written.second is not None and asking.second is not None
    for engines, bundle in ((written, asking), (written.second, asking.second)):
        file = bundle.classifier.file("int8", "litert")
        assert engines.engines["c.int8"].model_sha256 == file.sha256  # type: ignore[attr-defined]
        expected = Classifier(bundle if bundle is asking.second else asking).engine
        got = engines.engines["c-xnnpack.int8"].run_raw(cells[:40])
        assert np.array_equal(got, expected.run_raw(cells[:40]))


def test_the_command_names_both_networks(asking: Bundle, tmp_path: Path) -> None:
    ran = run_cli("firmware", asking.path, "-o", tmp_path / "c", "--cells", "2", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "firmware")
    assert asking.second is not None
    assert ran.json["second"]["sha256"] == asking.second.classifier.file("int8", "litert").sha256
    assert ran.json["second"]["macs"] == ran.json["macs"]
