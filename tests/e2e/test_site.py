"""``site fit`` and ``screen --site`` as a user runs them, on drawn slides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli import run_cli, run_process, validate

pytestmark = pytest.mark.usefixtures("shipped_bundle")
CALM = "sim:parasitemia=0,fields=2,seed={},width=800,height=600,cell_diameter_px=55"
SICK = "sim:parasitemia=0.2,fields=4,seed=90,width=800,height=600,cell_diameter_px=55"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile from six drawn slides without parasites, screened on the way."""
    path = tmp_path_factory.mktemp("site") / "hill-clinic.json"
    words = [w for seed in range(42, 48) for w in ("--negative", CALM.format(seed))]
    ran = run_process("site", "fit", *words, "-o", path, "--json", "--max-lod", "0.9")
    assert ran.code == 0, ran.err
    validate(ran.json, "site")
    assert (ran.json["name"], ran.json["passed"], ran.json["negatives"]) == ("hill-clinic", True, 6)
    return path


def test_a_site_that_does_not_pass_is_written_and_says_so(site: Path, tmp_path: Path) -> None:
    slides = sorted(site.with_suffix(".slides").iterdir())
    assert len(slides) == 6
    words = [w for slide in slides for w in ("--negative", str(slide))]
    ran = run_cli("site", "fit", *words, "-o", tmp_path / "strict.json", "--max-lod", "0.0001")
    assert ran.code == 1
    assert "does not pass" in ran.out
    assert "recommended are 20 slides" in ran.err
    assert json.loads((tmp_path / "strict.json").read_text())["passed"] is False
    assert "<svg" in (tmp_path / "strict.svg").read_text()
    again = run_cli("site", "fit", *words[:10], "-o", tmp_path / "strict.json")
    assert (again.code, "--force" in again.error) == (2, True)
    twice = run_cli("site", "fit", *words, *words[:2], "-o", tmp_path / "twice.json")
    assert (twice.code, "the same field" in twice.error) == (2, True)
    few = run_cli("site", "fit", *words[:8], "-o", tmp_path / "few.json")
    assert (few.code, "at least 5" in few.error) == (2, True)


def test_a_slide_is_judged_by_its_site(site: Path, tmp_path: Path) -> None:
    plain = run_cli("screen", SICK, "-o", tmp_path / "plain", "--json")
    own = run_cli("screen", SICK, "-o", tmp_path / "own", "--site", site, "--json")
    assert own.code == 0, own.err
    validate(own.json, "screen")
    assert (plain.json["site"], own.json["site"]) == (None, "hill-clinic")
    limits = [r.json["limit_of_detection_per_ul"] for r in (plain, own)]
    assert limits[1] is not None
    assert limits[0] is None or limits[1] < limits[0]
    assert "hill-clinic" in (tmp_path / "own" / "report.html").read_text()
    profile = json.loads(site.read_text())
    details = json.loads((tmp_path / "own" / "report.json").read_text())["details"]
    assert details["threshold"] == profile["screening"]
    assert details["flagged_from"] == profile["balanced"]


def test_a_profile_of_other_conditions_is_refused(site: Path, tmp_path: Path) -> None:
    for words, hint in (
        (["--bundle", "micro"], "another bundle"),
        (["--no-quality-gate"], "another quality"),
        (["--operating-point", "balanced"], "leave --operating-point out"),
    ):
        ran = run_cli("screen", SICK, "-o", tmp_path / "r", "--site", site, *words)
        assert ran.code == 2
        assert hint in ran.err
        assert not (tmp_path / "r" / "report.json").exists()
