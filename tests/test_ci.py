"""What CI runs leaves no test out: every combination of markers is selected by some command."""

from __future__ import annotations

import re
import tomllib
from itertools import chain, combinations
from pathlib import Path

from _pytest.mark.expression import Expression

from tests.conftest import LONGEST_FIRST

ROOT = Path(__file__).resolve().parents[1]


def markers() -> list[str]:
    """The markers of this project; --strict-markers refuses any other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = settings["tool"]["pytest"]["ini_options"]["markers"]
    return [line.partition(":")[0] for line in lines]


def recipe(target: str) -> str:
    """The commands of a Makefile target."""
    text = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", text, re.MULTILINE)
    assert found, target
    return found[1]


def expressions() -> list[str]:
    """The ``-m`` expressions of every pytest call that .ci/run reaches through make."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    found = []
    for target in re.findall(r"^make ([\w-]+)", script, re.MULTILINE):
        for line in recipe(target).splitlines():
            if "-m pytest" not in line:
                continue
            options = line.partition("-m pytest")[2]
            assert not re.search(r"(^| )(-k|--deselect|--ignore)", options), line
            where = re.findall(r"(?:^| )(tests\S*)", options)
            if where not in ([], ["tests/device"]):
                continue  # one folder once more, in an environment of its own
            given = re.findall(r'-m (?:"([^"]*)"|(\S+))', options)
            found.append("".join(given[0]) if given else "")
    return found


def selects(expression: str, given: tuple[str, ...]) -> bool:
    """Whether ``pytest -m expression`` runs a test with these markers."""
    if not expression:
        return True
    return Expression.compile(expression).evaluate(lambda name, **_: name in given)


def test_ci_selects_every_test_whatever_its_markers() -> None:
    names, given = markers(), expressions()
    assert {"slow", "long", "timed", "device"} <= set(names) and len(given) >= 3
    subsets = chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))
    for subset in subsets:
        chosen = any(selects(expression, subset) for expression in given)
        assert chosen, f"no command of .ci/run selects a test marked {subset}"


def test_the_long_tests_run_before_the_others_and_on_github_too() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    assert script.index("make test-long") < script.index("make test")
    assert selects(re.findall(r'-m "([^"]*)"', recipe("test-long"))[0], ("long", "slow"))
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    run = set(re.findall(r"- run: make ([\w-]+)", workflow))
    assert {"check", "test", "test-long"} <= run


def test_the_files_that_start_first_are_there() -> None:
    assert len(set(LONGEST_FIRST)) == len(LONGEST_FIRST)
    for name in LONGEST_FIRST:
        assert (ROOT / "tests" / name).is_file(), name


def test_device_tests_lie_where_their_command_looks() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        if "mark.device" in path.read_text("utf-8") and path != Path(__file__).resolve():
            assert path.parent.name == "device", path


def test_the_timed_command_reads_each_file_with_a_timed_test() -> None:
    """``make test`` finds these files by the words of their mark."""
    assert "grep -rl --include='test_*.py' 'pytest\\.mark" in (ROOT / "Makefile").read_text("utf-8")
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text("utf-8")
        if path != Path(__file__).resolve() and ("mark.timed" in text or '"timed"' in text):
            assert "@pytest.mark.timed" in text and path.name.startswith("test_"), path


def test_pre_commit_runs_what_make_check_runs() -> None:
    made = {
        line.replace("$(BIN)/", "").strip().removesuffix(" .")
        for line in recipe("check").splitlines()
    }
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    hooks = {entry.removeprefix(".venv/bin/") for entry in re.findall(r"entry: (.+)", text)}
    assert hooks == made
    assert "repo: local" in text and "http" not in text


def test_what_the_quick_tests_leave_out_is_there() -> None:
    text = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    found = re.search(r"^NOT_QUICK := (.+)$", text, re.MULTILINE)
    assert found
    for name in found[1].split():
        assert (ROOT / "tests" / name).exists(), name
    assert "NOT_QUICK" not in recipe("test"), "`make test` leaves nothing out"
