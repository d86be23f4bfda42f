"""Documents agree with the evidence, and the evidence with what ships."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks.documents import tables

ROOT = Path(__file__).resolve().parents[2]


def test_every_table_in_the_documents_is_todays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tables"])
    assert tables.main() == 0, capsys.readouterr().out


def test_a_changed_figure_and_a_lone_mark_are_found() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    changed = re.sub(r"\| 0\.\d{4} ", "| 0.1234 ", text, count=1)
    assert changed != text
    assert tables.updated(changed, "README.md") == text
    with pytest.raises(tables.UnknownTable, match="in a pair"):
        tables.updated(text.replace("<!-- /table -->", ""), "README.md")
    with pytest.raises(tables.UnknownTable, match="expected one of"):
        tables.updated("<!-- table: no-such -->\n<!-- /table -->\n", "x.md")


def test_no_figure_carries_a_comment_behind_it() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        comments = re.findall(r"<!--.*?-->", path.read_text(encoding="utf-8"), re.DOTALL)
        odd = [c for c in comments if not re.fullmatch(r"<!-- (table: [\w-]+|/table) -->", c)]
        assert not odd, path.name


def test_readme_shows_at_most_six_figures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## How good is it")[2].partition("\n## ")[0]
    assert 0 < len(re.findall(r"\b0\.\d{3,4}\b", section)) <= 6
    assert not re.search(r"\b0\.\d{3,4}\b", text.replace(section, ""))


def test_readme_links_every_document() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text]
    assert not missing


def test_every_test_that_a_document_names_is_there() -> None:
    named = 0
    for path in (ROOT / "docs").glob("*.md"):
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", path.read_text("utf-8")):
            assert f"def {name}(" in (ROOT / file).read_text("utf-8"), (path.name, file, name)
            named += 1
    assert named


def test_links_between_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", path.read_text("utf-8")):
            if "://" not in link:
                assert (path.parent / link).exists(), (path.name, link)


@pytest.mark.parametrize("name", ["model", "model-micro"])
def test_model_figures_belong_to_the_files_that_ship(name: str) -> None:
    from edge_malaria.bundle.format import read_bundle
    from edge_malaria.bundle.shipped import shipped_bundle

    model = name.partition("-")[2] or "default"
    evidence = ROOT / "docs" / "evidence" / f"{name}.json"
    if model == "micro" and not shipped_bundle(model).is_dir():
        pytest.skip("the micro model does not ship yet")
    shipped = read_bundle(shipped_bundle(model)).deciding_sha256("int8", "litert")
    assert json.loads(evidence.read_text())["int8_sha256"] == shipped


def test_evidence_names_its_commit_and_command_and_no_machine() -> None:
    files = sorted((ROOT / "docs" / "evidence").glob("*.json"))
    assert files
    for path in files:
        text = path.read_text()
        document = json.loads(text)
        assert {"commit", "command"} <= set(document), path.name
        assert not re.search(r"/(home|root|work|tmp|Users)/", text), path.name


def test_readme_python_example_runs(shipped_bundle: Path) -> None:
    import numpy as np

    from edge_malaria.synthetic import draw_cell

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    crop = draw_cell(np.random.default_rng(0), "ring").image
    code = blocks[0].replace('"default-bundle"', repr(str(shipped_bundle)))
    names: dict[str, object] = {"crop": crop}
    exec(code, names)
    assert len(names["cells"]) == 1  # type: ignore[arg-type]


def test_readme_commands_exist() -> None:
    from tests.cli import run_cli

    commands = set(re.findall(r"edge-malaria ([a-z]+)", (ROOT / "README.md").read_text()))
    shown = run_cli("--help").out
    missing = {word for word in commands if not re.search(rf"^\W*{word}\b", shown, re.MULTILINE)}
    assert not missing


def test_changelog_has_each_kind_of_change_once_a_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for version in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (\w+)", version, re.MULTILINE)
        assert kinds and len(kinds) == len(set(kinds)), version.splitlines()[0]
        assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_prose_keeps_to_lines_that_a_terminal_shows() -> None:
    """Tables, code and what is written by a command may be wider."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        prose = [line for line in text.splitlines() if not line.startswith("|")]
        wide = [line for line in prose if len(line) > 120 and path.name != "GALLERY.md"]
        assert not wide, (path.name, wide[0])
