"""The classical methods' evidence: what today's plan has not measured is named."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.literature.classical import SMALL, measured_today, restore, tasks


def test_a_network_of_another_plan_is_measured_again(tmp_path: Path) -> None:
    runs, evidence = tmp_path / "runs", tmp_path / "baselines.json"
    runs.mkdir()
    before = {**SMALL["alexnet-svm"], "epochs": 1}
    methods = {
        "svm": {"training": "all training cells", "commit": "abc"},
        "svm-crossval": {"training": "all training cells"},
        "alexnet-svm": {"training": before},
        "vgg16-svm": {"training": SMALL["vgg16-svm"]},
    }
    evidence.write_text(json.dumps({"commit": "def", "methods": methods}))
    assert sorted(restore(runs, evidence)) == sorted(methods)
    today = {name for name in tasks() if measured_today(name, runs)}
    assert today == {"svm", "svm-crossval", "vgg16-svm"}
    assert json.loads((runs / "svm.json").read_text())["commit"] == "abc"
    assert json.loads((runs / "alexnet-svm.json").read_text())["commit"] == "def"
