"""Real servers that take results; a disk of any kind will do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.serve.endpoints import (
    Dhis2Endpoint,
    FhirEndpoint,
)


@pytest.fixture(autouse=True)
def _forgetful_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")


@pytest.fixture
def fhir() -> Iterator[FhirEndpoint]:
    endpoint = FhirEndpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def tracker() -> Iterator[Dhis2Endpoint]:
    endpoint = Dhis2Endpoint()
    yield endpoint
    endpoint.close()
