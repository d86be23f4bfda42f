"""Words that no command can mean, files that are none, and Ctrl-C before anything has begun."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_malaria.cli.app import run
from edge_malaria.errors import StorageError
from edge_malaria.files import new_directory, write_text
from tests.cli import hear_ctrl_c, run_cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="devices and pipes are POSIX")
resource = pytest.importorskip("resource")
ENTRY = [sys.executable, "-m", "edge_malaria.cli.entry"]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes into."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize(
    "words",
    [
        ("screen", "", "-o", "slide"),
        ("screen", "sim:fields=1", "-o", ""),
        ("classify", " "),
        ("classify", "cell.png", "--bundle="),
        ("evaluate", "default", ""),
        ("backup", "", "-o", "backup.zip"),
    ],
)
def test_an_empty_word_is_never_the_folder_one_stands_in(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    ran = run_cli(*words, cwd=tmp_path)
    assert (ran.code, "is empty" in ran.error) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("classify", "{}"),
        ("selftest", "{}"),
        ("screen", "{}", "-o", "slide"),
        ("screen", "sim:fields=1", "-o", "slide", "--config", "{}"),
        ("screen", "sim:fields=1", "-o", "slide", "--site={}"),
        ("batch", "{}", "-o", "out"),
        ("restore", "{}", "-o", "data"),
        ("data", "show", "{}", "-o", "panel.png"),
    ],
)
def test_what_never_ends_when_it_is_read_is_refused(
    words: tuple[str, ...], tmp_path: Path, pipe: Path
) -> None:
    for special, kind in ((pipe, "a pipe"), (Path("/dev/zero"), "a device")):
        ran = run_cli(*(word.format(special) for word in words), cwd=tmp_path)
        assert (ran.code, f"is {kind}" in ran.error) == (2, True), ran.err
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_shell_s_own_pipe_is_read(tmp_path: Path) -> None:
    """``classify <(command)``: somebody writes there, so it ends."""
    reader, writer = os.pipe()
    os.close(writer)
    try:
        ran = run_cli("classify", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert (ran.code, "is empty (0 bytes)" in ran.error) == (5, True)


def test_nothing_is_renamed_onto_a_device(pipe: Path) -> None:
    """As root that would put a file in the place of /dev/null, for everybody."""
    with pytest.raises(StorageError, match="is a device or a pipe"):
        write_text(pipe, "x")
    with (
        pytest.raises(StorageError, match="is a device or a pipe"),
        new_directory(pipe, force=True),
    ):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(pipe.parent.iterdir()) == [pipe]
    target = Path("/dev/edge-malaria-test")
    with pytest.raises(StorageError, match="is a device or a pipe"):
        write_text(target, "x")
    assert not target.exists()


def test_a_message_is_short_and_no_terminal_obeys_it(tmp_path: Path) -> None:
    ran = run_cli("classify", "\x1b[31mred\nsecond line\r", cwd=tmp_path)
    assert ran.code == 5
    assert "\x1b" not in ran.err and "\r" not in ran.err
    ran = run_cli("classify", "x/" * 2000, cwd=tmp_path)
    assert ran.code == 5 and len(ran.error) < 1100


@pytest.mark.parametrize(
    ("option", "text"), [("--sample", "A\nB"), ("--sample", "9" * 500), ("--signed-by", "\x1b[0m")]
)
def test_a_document_s_words_are_words(option: str, text: str, tmp_path: Path) -> None:
    """FHIR allows no control characters; asked before the slide's directory is opened."""
    words = ["--sample", "A", "--fhir", "f.json", option, text]
    ran = run_cli("report", "slide", *words, cwd=tmp_path)
    assert (ran.code, f"{option}: expected" in ran.error) == (2, True)


@pytest.mark.parametrize(
    "spec",
    [
        "fields=99999999999999999999",
        "fields=1,width=100000000,height=100000000",
        "fields=1,light=inf",
        "fields=1,defocus=nan",
        "fields=1,defocus=-3",
    ],
)
def test_a_drawn_slide_of_no_size_is_refused(spec: str, tmp_path: Path) -> None:
    ran = run_cli("screen", f"sim:{spec}", "-o", "slide", cwd=tmp_path)
    assert (ran.code, "expected" in ran.error) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "package"),
    [(["classify", "x"], "typer"), (["classify", "x"], "cv2"), (["doctor"], "json")],
)
def test_ctrl_c_while_packages_are_imported_is_no_traceback(
    words: list[str], package: str, tmp_path: Path
) -> None:
    """On a small board that takes seconds. A slow package stands for the board."""
    slow = "import sys, time; print('importing', flush=True); time.sleep(120)"
    (tmp_path / f"{package}.py").write_text(slow)
    with subprocess.Popen(
        [*ENTRY, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        preexec_fn=hear_ctrl_c,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")


def little_memory() -> None:
    """For ``preexec_fn``: enough to start, too little for a picture of 196 megapixels."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    words = ["data", "synth", "field", "-o", "f", "--width", "14000", "--height", "14000"]
    done = subprocess.run(
        [*ENTRY, *words, "--fields", "1"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        check=False, timeout=300, preexec_fn=little_memory,
    )  # fmt: skip
    [line] = [one for one in done.stderr.splitlines() if one.startswith("error: ")]
    assert (done.returncode, "emory" in line) == (3, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "f").exists()


def test_what_nobody_thought_of_is_one_line_too_but_with_debug(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def action() -> None:
        raise RuntimeError("a decoder's own words\nand more of them")

    assert run(action, debug=False) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: RuntimeError: a decoder's own words. ") and "--debug" in line
    with pytest.raises(RuntimeError):
        run(action, debug=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["classify", "--help"]])
def test_output_onto_a_full_disk_is_one_line(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*ENTRY, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=300,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (5, "error: No space left on device\n")
