"""Tasks on dask workers: each is done whoever dies, errors come back, none outlives its client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_malaria.batch.cluster import each_done, open_client, run_all
from edge_malaria.errors import DatasetError, EnvironmentProblem


def write_pid(path: Path) -> None:
    path.write_text(str(os.getpid()))


def refuse_seven(path: Path) -> None:
    if path.name == "fold7":
        raise DatasetError(f"{path.name} has no cells.")
    time.sleep(0.2)


def vanish_once(path: Path) -> None:
    """The first process that has fold0 dies under it."""
    if path.name != "fold0":
        write_pid(path)
        return
    try:
        path.with_suffix(".begun").touch(exist_ok=False)
    except FileExistsError:
        write_pid(path)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def overflow(path: Path) -> None:
    raise MemoryError("no room for the cells")


def sleep_long(path: Path) -> None:
    write_pid(path)
    time.sleep(120)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Any]:
    with open_client(None, 2, lambda words: None) as client:
        yield client


def test_every_task_runs_elsewhere(two_workers: Any, tmp_path: Path) -> None:
    paths = [tmp_path / str(index) for index in range(9)]
    run_all(two_workers, write_pid, paths)
    assert os.getpid() not in {int(path.read_text()) for path in paths}


def test_an_error_comes_back_with_its_exit_code(two_workers: Any, tmp_path: Path) -> None:
    paths = [tmp_path / f"fold{index}" for index in range(12)]
    with pytest.raises(Exception, match="fold7 has no cells") as caught:
        run_all(two_workers, refuse_seven, paths)
    assert caught.value.exit_code == DatasetError.exit_code  # type: ignore[attr-defined]


def test_what_is_no_error_of_this_project_is_said(two_workers: Any, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="no room for the cells"):
        run_all(two_workers, overflow, [tmp_path])


def test_few_more_than_the_workers_are_handed_out(two_workers: Any, tmp_path: Path) -> None:
    asked: list[int] = []
    paths = [tmp_path / str(index) for index in range(30)]
    for task, future in each_done(two_workers, write_pid, paths):
        assert future.status == "finished"
        asked.append(int(task.name))
        written = len(list(tmp_path.iterdir()))
        assert written <= len(asked) + 2 + 2
    assert sorted(asked) == list(range(30))


@pytest.mark.slow
def test_a_killed_workers_task_is_done_by_another(tmp_path: Path) -> None:
    paths = [tmp_path / f"fold{index}" for index in range(3)]
    with open_client(None, 2, lambda words: None) as client:
        run_all(client, vanish_once, paths)
    assert all(path.read_text() for path in paths)


def gone(pid: int) -> bool:
    for _ in range(300):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_client(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "pid"
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from edge_malaria.batch.cluster import open_client, run_all\n"
        "from tests.batch.test_cluster import sleep_long\n"
        "if __name__ == '__main__':\n"
        "    with open_client(None, 1, lambda words: None) as client:\n"
        f"        run_all(client, sleep_long, [Path({str(path)!r})])\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL
    ) as parent:
        for _ in range(600):
            if path.is_file() and path.read_text():
                break
            time.sleep(0.1)
        child = int(path.read_text())
        parent.send_signal(how)
        parent.wait(60)
    assert gone(child)
