"""A result as one transaction on a FHIR R4 server.

Every resource is PUT under its own identity, which follows from what was signed ("update as
create", https://hl7.org/fhir/R4/http.html#upsert): a second try finds the same resources and adds
none. A transaction is taken whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_malaria.runtime.push.parcel import NotSent, Parcel
from edge_malaria.runtime.push.targets import FhirTarget
from edge_malaria.runtime.push.web import cut, post

KIND = "application/fhir+json"


def transaction_of(bundle: Mapping[str, Any]) -> dict[str, Any]:
    """The signed Bundle's resources as a transaction that may be sent again."""
    entries = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        where = f"{resource['resourceType']}/{resource['id']}"
        request = {"method": "PUT", "url": where}
        entries.append({"fullUrl": entry["fullUrl"], "resource": resource, "request": request})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def send(target: FhirTarget, parcel: Parcel) -> None:
    """Sends one result.

    Raises:
        NotSent: the server cannot be reached, or did not take every resource.
    """
    document = transaction_of(parcel.fhir)
    status, answer = post(target, "", document, KIND, "Bearer")
    if not 200 <= status < 300:
        raise NotSent(f"{target.url} refused the result ({status}): {cut(answer)}")
    found = answer.get("entry") if isinstance(answer, dict) else None
    words = [_status(entry) for entry in found] if isinstance(found, list) else []
    taken = [word for word in words if word.startswith("2")]
    if not (len(taken) == len(words) == len(document["entry"])):
        raise NotSent(f"{target.url} did not say that it took every resource: {cut(answer)}")


def _status(entry: Any) -> str:
    response = entry.get("response") if isinstance(entry, dict) else None
    return str(response.get("status", "")) if isinstance(response, dict) else ""
