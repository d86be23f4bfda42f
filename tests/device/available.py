"""An ARM root for a test, or the reason why the test is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.device import arm_root


def built_or_skipped(system: arm_root.System) -> Path:
    """The root of ``system``; the test is skipped where this machine cannot have one."""
    reason = arm_root.why_not(system)
    if reason:
        pytest.skip(reason)
    try:
        return arm_root.build(system)
    except RuntimeError as error:
        pytest.skip(f"the ARM root cannot be built here: {str(error).splitlines()[0]}")
