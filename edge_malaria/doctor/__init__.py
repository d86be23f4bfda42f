"""What is installed, what the device is like, and the fix for each finding.

The one command that must run on a broken machine: this package needs the standard library alone.
Everything that may be missing, compiled for another numpy or for another processor is imported in
a child process, so that a crash there is a finding here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from edge_malaria.doctor.camera import camera
from edge_malaria.doctor.device import examine_device
from edge_malaria.doctor.finding import Finding
from edge_malaria.doctor.packages import examine_packages

__all__ = ["Finding", "examine", "main", "text"]


def examine(
    data: Path | None = None, camera_spec: str = "", root: Path = Path("/")
) -> list[Finding]:
    """Looks at everything.

    Args:
        data: the device's data folder, as ``serve`` got it; None looks at the disk one stands on.
        camera_spec: the camera to try; "" tries the first one that is there.
        root: where ``/proc``, ``/sys`` and ``/run`` lie.
    """
    return [*examine_packages(), camera(camera_spec, root), *examine_device(data, root)]


def text(findings: Sequence[Finding]) -> str:
    """The report for a terminal, in ASCII."""
    marks = {"ok": "ok", "missing": "-", "problem": "PROBLEM"}
    wide = max(len(finding.what) for finding in findings)
    lines = []
    for found in findings:
        lines.append(f"{found.what:<{wide}}  {marks[found.state]:<7}  {found.detail}")
        if found.fix:
            lines.append(f"{'':<{wide}}  {'':<7}  fix: {found.fix}")
    return "\n".join(lines).encode("ascii", "replace").decode("ascii")


def main(words: Sequence[str]) -> int:
    """``edge-malaria doctor`` without any package but the standard library's."""
    parser = argparse.ArgumentParser(prog="edge-malaria doctor", add_help=False)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--camera", default="")
    asked = parser.parse_args(list(words))
    findings = examine(asked.data, asked.camera)
    if asked.json:
        document = {"schema_version": 1, "findings": [found.as_json() for found in findings]}
        print(json.dumps(document, indent=2))
    else:
        print(text(findings))
    return 0
