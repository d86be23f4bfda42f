"""A server in this process, with and without users."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the pages need the [serve] extra")

from starlette.testclient import TestClient

from edge_malaria.bundle.format import read_bundle
from edge_malaria.bundle.spec import Bundle
from edge_malaria.runtime.serve.app import application
from edge_malaria.runtime.serve.clinic import Clinic
from edge_malaria.runtime.serve.desk import Desk
from edge_malaria.runtime.serve.settings import ServeSettings
from edge_malaria.runtime.serve.store import Store
from edge_malaria.runtime.store.slides import Worklist
from tests.runtime.serve.served import SIM, Browser

PASSWORDS = {"Rita": "reader-password", "Sam": "supervisor-password", "Ada": "admin-password"}
ROLES = {"Rita": "reader", "Sam": "supervisor", "Ada": "admin"}


@pytest.fixture(autouse=True)
def _forgetful_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run on disks that may forget; that such a disk is refused is tested elsewhere."""
    monkeypatch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")


@pytest.fixture(scope="session")
def bundle(shipped_bundle: Path) -> Bundle:
    return read_bundle(shipped_bundle)


@pytest.fixture(scope="session")
def read_once(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A data folder with one slide that was read to its end; tests work on copies."""
    data = tmp_path_factory.mktemp("read") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")
        store = Store(data)
        desk = Desk(store, bundle, ServeSettings(data, sources=(SIM,)))
        slide = desk.make("A-1", "Amina").id
        desk.start(slide)
        running = desk.running_of(slide)
        assert running is None or running.join(300)
        assert desk.get(slide).state == "finished", desk.trouble(slide)
        desk.close()
        store.close()
    return data


@dataclass
class Served:
    """One server and ways to come to it."""

    clinic: Clinic
    client: Callable[[], TestClient]

    def slide(self, sample: str = "A-1", reader: str = "Amina") -> str:
        """The slide that ``read`` brought, under another sample's code."""
        (entry,) = self.clinic.desk.entries()
        with self.clinic.store.use() as connection:
            worklist = Worklist(connection, self.clinic.settings.data)
            worklist.put(replace(entry, sample=sample, reader=reader))
        return entry.id

    def browser(self, name: str = "") -> Browser:
        """Another browser, signed in as ``name``."""
        browser = Browser(self.client())
        if name:
            browser.sign_in(name, PASSWORDS[name])
        return browser


Serving = Callable[..., Served]


@pytest.fixture
def serving(tmp_path: Path, bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Serving]:
    """Starts servers; ``users`` adds one of each role first, ``read`` brings a finished slide."""
    with ExitStack() as stack:

        def start(*, users: bool = False, read: bool = False, **changes: object) -> Served:
            if read:
                shutil.copytree(request.getfixturevalue("read_once"), tmp_path / "data")
            settings = ServeSettings(tmp_path / "data", sources=(SIM,))
            settings = replace(settings, **changes)  # type: ignore[arg-type]
            clinic = Clinic(settings, bundle)
            if users:
                for name, role in ROLES.items():
                    if clinic.users.get(name) is None:
                        clinic.users.add(name, role, PASSWORDS[name])
            app = application(clinic)
            kept = TestClient(app, "http://127.0.0.1", follow_redirects=False)
            stack.enter_context(kept)

            def client() -> TestClient:
                # The application's life is the first client's: these only come and go.
                return TestClient(
                    app, "http://127.0.0.1", follow_redirects=False,
                    raise_server_exceptions=False, client=("192.0.2.7", 4000),
                )  # fmt: skip

            return Served(clinic, client)

        yield start
