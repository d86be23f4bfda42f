"""The field path by stage: the real one, whole, and growth that is fitted right."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_malaria.benchmark.field_path import STAGES, fitted, jpegs_of, measure_fields
from edge_malaria.bundle.format import read_bundle
from edge_malaria.errors import EdgeMalariaError
from tests.cli import run_cli, validate

SOURCE = "sim:fields=2,width=640,height=480,cell_diameter_px=50,seed=4"


def test_stages_add_up_to_the_whole_path(shipped_bundle: Path) -> None:
    pictures = jpegs_of(SOURCE)
    assert len(pictures) == 2 and all(p[:2] == b"\xff\xd8" for p in pictures)
    cost, clock = measure_fields(read_bundle(shipped_bundle), pictures, 6)
    assert cost.fields == 5 and cost.megapixels == pytest.approx(0.307, abs=0.001)
    assert cost.cells > 10
    for row in clock.fields:
        assert sum(row.get(name, 0.0) for name in STAGES) == pytest.approx(row["whole"])
        assert row["rest"] > 0
    assert all(cost.stage_ms[name] > 0 for name in STAGES)
    assert cost.times_decoding > 1


def test_an_exponent_is_that_of_the_power_law() -> None:
    assert fitted("cells", [(n, 3.0 * n) for n in (10, 20, 40)]).exponent == 1.0
    assert fitted("cells", [(n, 0.1 * n**2) for n in (10, 20, 40)]).exponent == 2.0
    with pytest.raises(ValueError, match="at least two"):
        fitted("cells", [(1.0, 1.0)])


def test_a_source_without_a_field_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeMalariaError):
        jpegs_of(str(tmp_path))


@pytest.mark.slow
def test_the_command_measures_fields(shipped_bundle: Path, tmp_path: Path) -> None:
    ran = run_cli(
        *("benchmark", shipped_bundle, "--fields", SOURCE, "--threads", "1", "--batch", "1"),
        *("--rounds", "3", "--no-memory", "--json"),
    )
    assert ran.code == 0, ran.err
    validate(ran.json, "benchmark")
    assert ran.json["fields"]["times_decoding"] > 1
    assert ran.json["field_peers"][0]["times_ours"] == 1
    assert ran.json["growth"] == []
