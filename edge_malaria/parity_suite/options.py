"""Options of the suite, and its one run of the gate, shared by all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_malaria.errors import EdgeMalariaError

if TYPE_CHECKING:
    from edge_malaria.parity import ParityReport

_REPORT = pytest.StashKey["ParityReport"]()
_STAGES = ("signature", "goldens", "tensors", "files")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--bundle``, ``--data`` and what decides how they are compared."""
    group = parser.getgroup("edge-malaria parity")
    group.addoption("--bundle", help="bundle directory or zip; default: the shipped one")
    group.addoption("--data", help="data set: adds the statistics on real cells")
    group.addoption("--patients", help="a patients.csv that names every file")
    group.addoption("--split", choices=["train", "val", "test", "all"], help="default: test")
    group.addoption(
        "--engine", help="comma-separated: litert,onnx,c,tflm; default: what is installed"
    )
    group.addoption("--delta", type=float, default=0.01, help="non-inferiority margin")


def _report(config: pytest.Config) -> ParityReport:
    """Runs the gate once; an error of ours ends the session with its message."""
    if _REPORT in config.stash:
        return config.stash[_REPORT]
    from converters.firmware.engines import firmware_engines, split_names
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.bundle.shipped import shipped_bundle
    from edge_malaria.data.dataset import open_dataset
    from edge_malaria.parity import Settings, gate

    option = config.getoption
    try:
        dataset = open_dataset(option("data"), option("patients")) if option("data") else None
        split = option("split") or ("test" if dataset and dataset.has_splits else "all")
        bundle = read_bundle(option("bundle") or shipped_bundle())
        names = option("engine").split(",") if option("engine") else None
        device, bare = split_names(names)
        small = firmware_engines(bundle, bare)
        report = gate(
            bundle,
            dataset=dataset,
            split=split,
            engines=device,
            extra=small.engines,
            settings=Settings(delta=option("delta")),
            twins=small.twins,
            left_out=small.left_out,
        )
    except EdgeMalariaError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_REPORT] = report
    return report


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> ParityReport:
    """The gate's report."""
    return _report(request.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a stage, a pair, and a thing that was not run."""
    if "stage" in metafunc.fixturenames:
        metafunc.parametrize("stage", _STAGES)
    if "pair" in metafunc.fixturenames:
        pairs = _report(metafunc.config).pairs
        names = [f"{p.candidate}-against-{p.reference}-{p.n}-{p.evidence}" for p in pairs]
        metafunc.parametrize("pair", pairs, ids=names)
    if "left_out" in metafunc.fixturenames:
        left_out = _report(metafunc.config).not_run
        metafunc.parametrize("left_out", left_out, ids=[line.split(":")[0] for line in left_out])
