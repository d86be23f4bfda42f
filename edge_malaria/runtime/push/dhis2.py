"""A result as one event of a DHIS2 program without registration.

The event's UID follows from what was signed, and the import creates or updates: a second try finds
the same event (DHIS2 Developer guide, "Tracker", importStrategy CREATE_AND_UPDATE). The import is
asked to answer when it is done, and to take all or nothing.
"""

from __future__ import annotations

from typing import Any

from edge_malaria.runtime.push.parcel import NotSent, Parcel
from edge_malaria.runtime.push.targets import Dhis2Target
from edge_malaria.runtime.push.web import cut, post

PATH = "/api/tracker?async=false&importStrategy=CREATE_AND_UPDATE&atomicMode=ALL"


def event_of(target: Dhis2Target, parcel: Parcel) -> dict[str, Any]:
    """The tracker's document with the one event."""
    summary = parcel.summary()
    values = [
        {"dataElement": uid, "value": str(summary[name])}
        for name, uid in target.data_elements.items()
        if name in summary
    ]
    event = {
        "event": parcel.uid,
        "program": target.program,
        "programStage": target.program_stage,
        "orgUnit": target.org_unit,
        "occurredAt": parcel.entry.created[:10],
        "status": "COMPLETED",
        "dataValues": values,
    }
    return {"events": [event]}


def send(target: Dhis2Target, parcel: Parcel) -> None:
    """Sends one result.

    Raises:
        NotSent: the server cannot be reached, or did not import the event.
    """
    document = event_of(target, parcel)
    status, answer = post(target, PATH, document, "application/json", "ApiToken")
    if not 200 <= status < 300:
        raise NotSent(f"{target.url} refused the result ({status}): {cut(answer)}")
    said = answer if isinstance(answer, dict) else {}
    stats = said.get("stats")
    stats = stats if isinstance(stats, dict) else {}
    stored = sum(stats.get(name, 0) for name in ("created", "updated"))
    if not (said.get("status") in ("OK", "WARNING") and stored == 1):
        raise NotSent(f"{target.url} did not import the event: {cut(answer)}")
