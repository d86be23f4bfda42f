"""One slide of a batch: its source, settings and site profile never change in silence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from edge_malaria.batch.manifest import Slide, read_manifest
from edge_malaria.batch.scheduler import same_settings
from edge_malaria.batch.slide_task import (
    SLIDES,
    Settings,
    finished,
    local_copy,
    run_slide,
)
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import ConfigError, DataError
from edge_malaria.runtime.screen.screening import bundle_sha256
from edge_malaria.runtime.screen.slide_errors import bundle_errors
from edge_malaria.runtime.slide.error_record import SlideScores
from edge_malaria.runtime.slide.site_fit import SiteFit
from tests.batch.slides import SMALL, drawn, manifest_of
from tests.cli import run_process


def test_a_slide_whose_source_changed_in_the_manifest_is_never_the_old_one(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    settings = Settings(str(tmp_path), str(shipped_bundle))
    first, other = drawn(2, fields=1)
    assert run_slide(first, settings).status == "done"
    known = replace(first, reference="positive")
    assert run_slide(known, settings).reference == "positive"
    row = run_slide(replace(other, name=first.name), settings)
    assert row.status == "failed" and "source" in row.reason
    assert run_slide(first, settings).status == "done"


def test_other_settings_are_refused_in_the_same_directory(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    same_settings(Settings(str(tmp_path), str(shipped_bundle)))
    same_settings(Settings(str(tmp_path), str(shipped_bundle)))
    with pytest.raises(ConfigError, match="another variant"):
        same_settings(Settings(str(tmp_path), str(shipped_bundle), variant="float32"))
    with pytest.raises(ConfigError, match="another bundle"):
        same_settings(Settings(str(tmp_path), str(shipped_bundle.parent / "micro")))
    own = tmp_path / "own.toml"
    own.write_text("[quality]\nmin_focus = 2.8\n")
    with pytest.raises(ConfigError, match="another config"):
        same_settings(Settings(str(tmp_path), str(shipped_bundle), config=str(own)))
    other = tmp_path / "other"
    same_settings(Settings(str(other), str(shipped_bundle), config=str(own)))
    own.write_text("# the same\n[quality]\nmin_focus = 2.80\n")
    same_settings(Settings(str(other), str(shipped_bundle), config=str(own)))
    own.write_text("[quality]\nmin_focus = 2.9\n")
    with pytest.raises(ConfigError, match="another config"):
        same_settings(Settings(str(other), str(shipped_bundle), config=str(own)))
    for damaged in ("{", "[1]", "\x00"):
        (tmp_path / "batch.json").write_text(damaged)
        with pytest.raises(DataError, match="damaged"):
            same_settings(Settings(str(tmp_path), str(shipped_bundle)))


def site_profile(path: Path, bundle_directory: Path) -> Path:
    """A site of six drawn slides' healthy cells."""
    bundle = read_bundle(bundle_directory)
    record = bundle_errors(bundle)
    rng = np.random.default_rng(3)
    slides = [
        SlideScores.count(f"n{k}", rng.beta(0.2, 4.0, 1500), record.thresholds) for k in range(6)
    ]
    made = SiteFit(record, slides).profile("Kisumu", bundle_sha256(bundle), {})
    path.write_text(json.dumps(made.as_json()))
    return path


def test_a_slide_is_judged_by_the_site_profile_that_its_row_names(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    site = site_profile(tmp_path / "kisumu.json", shipped_bundle)
    placed, profiled = (Slide(n, SMALL.format(fields=2, seed=4), s) for n, s in
                        (("placed", "Kisumu"), ("profiled", str(site))))  # fmt: skip
    read = read_manifest(manifest_of((placed, profiled), tmp_path / "slides.csv"))
    settings = Settings(str(tmp_path / "out"), str(shipped_bundle))
    rows = {slide.name: run_slide(slide, settings) for slide in read}
    reports = {
        n: json.loads((tmp_path / "out" / SLIDES / n / "report.json").read_text()) for n in rows
    }
    assert {n: r.site for n, r in rows.items()} == {"placed": "Kisumu", "profiled": str(site)}
    assert reports["placed"]["site"] is None and reports["profiled"]["site"] == "Kisumu"
    threshold = json.loads(site.read_text())["screening"]
    assert reports["profiled"]["details"]["threshold"] == threshold
    assert reports["placed"]["details"]["threshold"] != threshold
    assert rows["profiled"].cells_positive == reports["profiled"]["cells_positive"]
    assert rows["profiled"].basis == reports["profiled"]["basis"] == "algorithm"
    assert rows["profiled"].cells_counted == rows["placed"].cells_counted
    # A profile that was written since, or another site, is never passed over in silence.
    assert finished(tmp_path / "out", profiled) == rows["profiled"]
    site.write_text(site.read_text() + "\n")
    assert finished(tmp_path / "out", profiled) is None
    assert run_slide(profiled, settings).cells_positive == rows["profiled"].cells_positive
    moved = run_slide(Slide("placed", placed.source, str(site)), settings)
    assert moved.status == "failed" and "site" in moved.reason
    site.write_text("{}")
    assert "no site profile" in run_slide(Slide("x", placed.source, str(site)), settings).reason
    ran = run_process("batch", tmp_path / "slides.csv", "-o", tmp_path / "again")
    assert ran.code == 5 and "no site profile" in ran.error
    assert not (tmp_path / "again").exists()


def test_files_of_one_name_in_two_folders_of_a_store_are_all_fetched() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("/day1/a.png", "/day2/a.png", "/day2/b.txt"):
        memory.pipe_file(f"/slides{name}", name.encode())
    try:
        with local_copy(Slide("S1", "memory://slides/*/*.png")) as folder:
            found = sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*.png"))
        assert found == ["day1/a.png", "day2/a.png"]
        memory.pipe_file("/slides/day2/../../../evil.png", b"x")
        with (
            pytest.raises(DataError, match="outside its folder"),
            local_copy(Slide("S1", "memory://slides/day2")),
        ):
            pass
    finally:
        memory.rm("/slides", recursive=True)
