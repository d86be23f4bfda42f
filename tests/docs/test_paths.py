"""Files, folders and modules that a document names are there."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import cache
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "firmware_examples/**/*.md")
    for path in ROOT.glob(pattern)
)
# A path is also told from these folders on.
FROM = ("", "docs", "edge_malaria", "firmware_examples")
CODE = (".py", ".toml", ".sh", ".c", ".svg")
MADE_HERE = {".git", ".venv", "build", "demo", "dist", "firmware", "runs"}
# What a command of the document writes, a user's own files, and examples of other projects' names.
NOT_OURS = {
    "--config mine.toml",
    ".toml",
    "bundle.json",
    "edge_malaria_model.c",
    "edge_malaria_selftest.c",
    "theirs.toml",
}


@cache
def present() -> frozenset[str]:
    """Files of the project and the folders that hold them, from its root on."""
    tops = [one for one in ROOT.iterdir() if one.name not in MADE_HERE]
    files = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]
    found = [path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts]
    return frozenset(str(one) for path in found for one in (path, *path.parents))


def spelled_out(word: str) -> list[str]:
    """``a_{b,c}.py`` -> ``a_b.py``, ``a_c.py``."""
    parts = re.split(r"\{([^}]*)\}", word)
    choices = [part.split(",") if place % 2 else [part] for place, part in enumerate(parts)]
    return ["".join(one) for one in product(*choices)]


def is_there(word: str, document: Path) -> bool:
    """Whether ``word`` names something there: by its path, or a bare name by itself."""
    if "/" not in word:
        return any(fnmatch(Path(path).name, word) for path in present())
    places = [*(ROOT / start for start in FROM), document.parent]
    return any(next(place.glob(word.rstrip("/")), None) is not None for place in places)


def named_paths(text: str) -> list[str]:
    """Words in backticks that name a file or folder of a project."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = []
    for word in re.findall(r"`([^`\n]+)`", plain):
        path = re.split(r"::?\s*", word)[0]
        heads = tuple(f"{one}/" for one in top_folders())
        if word not in NOT_OURS and (path.startswith(heads) or path.endswith(CODE)):
            found.append(path)
    return found


@cache
def top_folders() -> frozenset[str]:
    """Folders of the project and of the package."""
    starts = {Path(file).parts for file in present()}
    package = {parts[1] for parts in starts if parts[:1] == ("edge_malaria",) and len(parts) > 2}
    return frozenset(package | {parts[0] for parts in starts if len(parts) > 1})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_in_a_document_is_there(document: Path) -> None:
    words = [one for path in named_paths(document.read_text("utf-8")) for one in spelled_out(path)]
    missing = [word for word in words if not is_there(word, document)]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_a_document_runs_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    modules = re.findall(r"-m\s+((?:benchmarks|tools|converters|edge_malaria)[\w.]*)", text)
    missing = [m for m in modules if not (ROOT / f"{m.replace('.', '/')}.py").is_file()]
    assert not missing


def test_paths_are_told_from_other_words() -> None:
    text = "`tools/no_such.py` and `tests/parity/test_{network,record}_faults.py`, `s3://`, `a/b`"
    assert named_paths(text) == ["tools/no_such.py", "tests/parity/test_{network,record}_faults.py"]
    assert not is_there("tools/no_such.py", ROOT / "README.md")
    assert not is_there("no_such.py", ROOT / "README.md")
    assert is_there("docs/evidence/*.json", ROOT / "README.md")
