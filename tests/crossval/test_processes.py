"""Work in processes: it is done, its errors come back, and it dies with who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_malaria.crossval.processes import in_processes
from edge_malaria.errors import DatasetError, EnvironmentProblem


def write_pid(path: Path) -> None:
    path.write_text(str(os.getpid()))


def refuse(path: Path) -> None:
    raise DatasetError(f"{path.name} has no cells.")


def vanish(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long(path: Path) -> None:
    write_pid(path)
    time.sleep(120)


def test_every_task_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / str(index) for index in range(3)]
    in_processes(write_pid, paths, jobs=2)
    pids = {int(path.read_text()) for path in paths}
    assert len(pids) == 3 and os.getpid() not in pids


def test_an_error_comes_back_with_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="fold7 has no cells") as caught:
        in_processes(refuse, [tmp_path / "fold7"], jobs=1)
    assert caught.value.exit_code == DatasetError.exit_code  # type: ignore[attr-defined]


def test_a_killed_worker_is_said(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="-9"):
        in_processes(vanish, [tmp_path], jobs=1)


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    path = tmp_path / "pid"
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from edge_malaria.crossval.processes import in_processes\n"
        "from tests.crossval.test_processes import sleep_long\n"
        f"if __name__ == '__main__': in_processes(sleep_long, [Path({str(path)!r})], 1)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL
    ) as parent:
        for _ in range(200):
            if path.is_file() and path.read_text():
                break
            time.sleep(0.1)
        child = int(path.read_text())
        parent.send_signal(how)
        parent.wait(30)
    assert gone(child)
