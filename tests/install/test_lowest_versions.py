"""The lowest versions that pyproject.toml allows: installed, and the commands run on them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.serve.endpoints import (
    Dhis2Endpoint,
    FhirEndpoint,
    Subscriber,
    broker,
    brokers,
    free_port,
    push_settings,
)
from tests.install.conftest import environment, run
from tests.lowest import lowest

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        sys.version_info[:2] != (3, 11), reason="the lowest versions have wheels for Python 3.11"
    ),
]


@pytest.mark.parametrize(
    ("extras", "engines"), [("litert,onnx", "litert,onnx"), ("tflite-legacy", "litert")]
)
def test_the_device_s_lowest_versions(
    extras: str, engines: str, wheel: Path, tmp_path: Path
) -> None:
    pinned = lowest(*extras.split(","))
    programs = environment(tmp_path / "low", f"{wheel}[{extras}]", *pinned)
    em = programs / "edge-malaria"
    assert "screen" in run(em, "--help", cwd=tmp_path).stdout
    run(em, "screen", "--help", cwd=tmp_path)
    told = run(em, "doctor", cwd=tmp_path).stdout
    assert "PROBLEM" not in told, told
    run(em, "selftest", cwd=tmp_path)
    run(em, "parity", "micro", "--engine", engines, cwd=tmp_path)
    run(em, "data", "synth", "cells", "-o", "cells", "--cells", "40", "--seed", "1", cwd=tmp_path)
    run(em, "classify", "cells", "--json", cwd=tmp_path)
    run(em, "screen", "sim:parasitemia=0.02,fields=1,seed=3", "-o", "slide", cwd=tmp_path)


def test_the_exporting_machine_s_lowest_versions(wheel: Path, tmp_path: Path) -> None:
    # TensorFlow asks for a newer numpy than the device does.
    pinned = [line for line in lowest("export", "train") if not line.startswith("numpy==")]
    programs = environment(tmp_path / "low", f"{wheel}[train]", *pinned)
    em = programs / "edge-malaria"
    (tmp_path / ".keras").mkdir()
    strange = '{"floatx": "float16", "backend": "jax", "image_data_format": "channels_first"}'
    (tmp_path / ".keras" / "keras.json").write_text(strange)
    user = {"HOME": str(tmp_path), "KERAS_BACKEND": "jax"}
    run(em, "export", "micro", "--int8", "-o", "bundle", cwd=tmp_path, more=user)
    run(em, "selftest", "bundle", cwd=tmp_path)
    run(em, "data", "synth", "cells", "-o", "cells", "--cells", "200", "--seed", "1", cwd=tmp_path)
    run(em, "baseline", "cells", "-o", "runs", "--method", "svm", cwd=tmp_path)


def test_the_pages_lowest_versions_then_those_of_sending(wheel: Path, tmp_path: Path) -> None:
    """The device's environment holds the lowest versions; what takes its results runs here."""
    pinned = lowest("litert", "serve")
    programs = environment(tmp_path / "low", f"{wheel}[litert,serve]", *pinned)
    walk = [programs / "python", Path(__file__).with_name("walk_pages.py")]
    walk.append(programs / "edge-malaria")
    assert "walked" in run(*walk, cwd=tmp_path).stdout
    fhir, tracker, push = FhirEndpoint(), Dhis2Endpoint(), tmp_path / "push.toml"
    push.write_text(push_settings(fhir, tracker, free_port()))
    refused = run(*walk[2:], "serve", "--push", push, "--data", "d", cwd=tmp_path, ok=False)
    assert refused.returncode == 3 and "paho-mqtt" in refused.stderr, refused.stderr
    pip = [programs / "python", "-m", "pip", "install", "--quiet"]
    run(*pip, f"{wheel}[litert,push]", *lowest("litert", "serve", "push"), cwd=tmp_path)
    with broker(brokers()[0], tmp_path / "broker") as port:
        listening = Subscriber(port)
        push.write_text(push_settings(fhir, tracker, port))
        assert "sent" in run(*walk, push, cwd=tmp_path).stdout
        listening.close()
    assert len(fhir.reports()) == len(tracker.stored) == len(listening.counts()) == 1
    fhir.close()
    tracker.close()


def test_the_pages_without_their_packages_name_the_command(wheel: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "bare", f"{wheel}[litert]")
    ran = run(programs / "edge-malaria", "serve", "--data", "d", cwd=tmp_path, ok=False)
    assert ran.returncode == 3
    assert "pip install" in ran.stderr and "starlette" in ran.stderr
    assert not (tmp_path / "d").exists()
