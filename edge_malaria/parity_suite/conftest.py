"""One run of the gate, shared by all tests of the suite; what it found becomes tests.

Where the gate cannot run (a damaged bundle, a wrong path, an unknown engine) exactly one test is
left, and it fails with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_malaria.parity_suite.options import add_options, option

if TYPE_CHECKING:
    from edge_malaria.parity import ParityReport

_OUTCOME = pytest.StashKey[Any]()
_STAGES = ("signature", "goldens", "tensors", "files")
_FIRST = "test_the_gate_ran"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, where this environment loads no plugins by itself."""
    add_options(parser)


def _outcome(config: pytest.Config) -> ParityReport | Exception:
    """The gate's report, or what ended it; runs once a session."""
    if _OUTCOME not in config.stash:
        try:
            config.stash[_OUTCOME] = _run(config)
        except Exception as error:
            config.stash[_OUTCOME] = error
    found: ParityReport | Exception = config.stash[_OUTCOME]
    return found


def _run(config: pytest.Config) -> ParityReport:
    from converters.firmware.engines import firmware_engines, split_names
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.data.dataset import open_dataset
    from edge_malaria.parity import Settings, gate

    data, named, delta = (option(config, name) for name in ("data", "engine", "delta"))
    words = None if named is None else [word.strip() for word in named.split(",") if word.strip()]
    device, bare = split_names(words)
    bundle = read_bundle(_bundle_path(option(config, "bundle")))
    dataset = open_dataset(data, option(config, "patients")) if data else None
    split = option(config, "split") or ("test" if dataset and dataset.has_splits else "all")
    small = firmware_engines(bundle, bare)
    return gate(
        bundle,
        dataset=dataset,
        split=split,
        engines=device,
        extra=small.engines,
        settings=Settings() if delta is None else Settings(delta=delta),
        twins=small.twins,
        left_out=small.left_out,
        second=small.beside(),
    )


def _bundle_path(named: str | None) -> Path:
    """The bundle's path; a shipped model's name (default, micro) means that one."""
    from edge_malaria.bundle.shipped import SHIPPED_MODELS, shipped_bundle

    if named is None:
        return shipped_bundle()
    shipped = [path.name for path in SHIPPED_MODELS.iterdir() if path.is_dir()]
    path = Path(named)
    return shipped_bundle(named) if named in shipped and not path.exists() else path


@pytest.fixture(scope="session")
def parity_outcome(request: pytest.FixtureRequest) -> ParityReport | Exception:
    """The gate's report, or what ended it."""
    return _outcome(request.config)


@pytest.fixture(scope="session")
def report(parity_outcome: ParityReport | Exception) -> ParityReport:
    """The gate's report."""
    if isinstance(parity_outcome, Exception):
        pytest.fail(str(parity_outcome), pytrace=False)
    return parity_outcome


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a stage, a pair, and a thing that was not run."""
    wanted = {"stage", "pair", "left_out"} & set(metafunc.fixturenames)
    if not wanted:
        return
    found, name = _outcome(metafunc.config), wanted.pop()
    values: list[Any]
    if isinstance(found, Exception):
        values, ids = [None], ["not-run"]  # left out below
    elif name == "stage":
        values, ids = list(_STAGES), list(_STAGES)
    elif name == "pair":
        values = list(found.pairs)
        ids = [f"{p.candidate}-against-{p.reference}-{p.n}-{p.evidence}" for p in values]
    else:
        values = list(found.not_run)
        ids = [line.split(":")[0] for line in values]
    metafunc.parametrize(name, values, ids=ids)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves one test of the suite where the gate could not run."""
    if isinstance(config.stash.get(_OUTCOME, None), Exception):
        rest = [item for item in items if _is_ours(item) and item.name != _FIRST]
        items[:] = [item for item in items if item not in rest]
        config.hook.pytest_deselected(items=rest)


def _is_ours(item: pytest.Item) -> bool:
    module = getattr(item, "module", None)
    return getattr(module, "__name__", "").endswith("parity_suite.test_parity")
