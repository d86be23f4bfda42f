"""Shared fixtures: the real data (skipped where absent) and the shipped bundle."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.made_once import made_once

# A busy machine is no fault of the code: how long an example takes decides nothing.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# As the converters set it for a process of their own: here anything may load TensorFlow first, and
# oneDNN's other summation orders would change an export's bits.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# The workers share the cores. OpenMP's threads spin while they wait for each other, and a boosted
# tree then takes five times its processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# `make test` hands out whole files, these first, each some ten seconds of a core or of waiting: the
# processes then end together.
LONGEST_FIRST = (
    "e2e/test_export.py",
    "e2e/test_serve.py",
    "training/transfer/test_transfer.py",
    "parity/test_network_faults.py",
    "batch/test_workers.py",
    "e2e/test_few_labels.py",
    "parity/test_second_network.py",
    "training/pruning/test_training_prune.py",
    "parity/test_microcontroller.py",
    "converters/firmware/test_to_c.py",
    "training/segmentation/test_segmentation.py",
    "training/classifier/test_training_fit.py",
    "e2e/test_own_data.py",
    "training/classifier/test_published.py",
    "firmware_examples/test_firmware_examples.py",
    "e2e/test_serve_browser.py",
    "e2e/test_screen.py",
    "e2e/test_screen_ends.py",
    "training/architectures/test_literature.py",
    "training/baselines/test_baselines.py",
    "training/test_ensemble.py",
    "training/transfer/test_pretraining.py",
    "training/test_training_shipped.py",
    "training/classifier/test_preprocessing_layers.py",
    "doctor/test_packages.py",
    "parity/test_finder_stage.py",
    "parity/test_record_faults.py",
    "parity/test_flagged_views.py",
    "parity/test_judges.py",
    "export/importers/test_files.py",
    "export/importers/test_grid.py",
    "runtime/serve/test_slides.py",
    "runtime/serve/test_sources.py",
    "runtime/review/test_ends.py",
    # `make test-device` hands out tests. The longest keeps the one behind it: a short one.
    "device/test_pi_install.py",
    "device/test_empty_place.py",
    "device/test_legacy_install.py",
)

# Loading TensorFlow takes longer than a quick test; the networks need it.
LOADS_TENSORFLOW = {"tensorflow", "tiny_keras", "working_keras", "tiny_bundle"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what loads TensorFlow as slow, by its fixtures; puts the longest files first."""
    for item in items:
        if LOADS_TENSORFLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    place = {f"tests/{name}": index for index, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))


def pytest_collection_finish() -> None:
    """Many a file loads TensorFlow as it is read."""
    keep_what_is_loaded()


def keep_what_is_loaded() -> None:
    """Takes what is there from the garbage collector.

    An export collects garbage a dozen times: it need not look through TensorFlow's hundreds of
    thousands of objects each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real cells and fields that EDGE_MALARIA_DATA names."""
    value = os.environ.get("EDGE_MALARIA_DATA")
    if not value:
        pytest.skip("EDGE_MALARIA_DATA is not set: real cells are not in the project")
    path = Path(value)
    if not path.is_dir():
        pytest.skip("EDGE_MALARIA_DATA names no folder: real cells are not in the project")
    return path


@pytest.fixture(scope="session")
def shipped_bundle() -> Path:
    """The bundle inside the package."""
    import edge_malaria

    path = Path(edge_malaria.__file__).parent / "models" / "default"
    assert path.is_dir(), "the shipped bundle is missing from the package"
    return path


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    """The module; ``usefixtures("tensorflow")`` where a test needs it without naming it."""
    module = pytest.importorskip("tensorflow", reason="needs the [train] or [export] extra")
    keep_what_is_loaded()
    return module


@pytest.fixture(scope="session")
def tiny_keras(tensorflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with int8 ranges that tells dark-spotted cells from plain ones.

    Its weights are set by hand, so that it decides something without any training.
    """
    from edge_malaria import keras_layers as layers
    from tests.networks import spot_network

    path = made_once(tmp_path_factory, "tiny.keras", lambda made: spot_network().save(made))
    assert layers.has_ranges(layers.load_model(path))
    return path


@pytest.fixture(scope="session")
def working_keras(tensorflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float network without ranges that truly tells drawn cells apart, as somebody else's."""
    from tests.networks import working_network

    return made_once(tmp_path_factory, "working.keras", lambda made: working_network().save(made))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's bundle with every variant, made by the real export."""
    from edge_malaria.export import Options, export_bundle

    variants = ("float32", "float16", "dynamic", "int8")

    def export(made: Path) -> None:
        export_bundle(str(tiny_keras), made, Options(variants=variants))

    return made_once(tmp_path_factory, "tiny-bundle", export)
