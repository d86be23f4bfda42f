"""The limits of a slide unlike those of the fit: derived, and written where the defaults stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.slides import doubtful_limits as command


def test_limits_follow_the_patients() -> None:
    rng = np.random.default_rng(1)
    calm = {f"H{k}": np.where(rng.random(300) < 0.04, 0.5, 0.01) for k in range(40)}
    sick = {f"C{k}": np.where(rng.random(200) < 0.6, 0.999, 0.5) for k in range(30)}
    found = command.limits(calm, sick, 0.99, 0.2)
    assert 0.05 <= found["doubtful_base"] <= 0.10
    # 40 doubtful for 60 positives among most patients: less than one each, so one it is.
    assert found["max_doubtful"] == pytest.approx(1.0, abs=0.1)
    vague = {f"C{k}": np.where(rng.random(200) < 0.3, 0.999, 0.5) for k in range(30)}
    assert command.limits(calm, vague, 0.99, 0.2)["max_doubtful"] > 2.3


def test_limits_are_written_where_the_defaults_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = {}
    for path, pattern in command.TARGETS.items():
        copy = tmp_path / path.name
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
        targets[copy] = pattern
    monkeypatch.setattr(command, "TARGETS", targets)
    command.write_limits({"doubtful_base": 0.21, "max_doubtful": 1.7})
    for copy in targets:
        text = copy.read_text(encoding="utf-8")
        assert "doubtful_base" in text
        assert "= 0.21\n" in text and "= 1.7\n" in text
