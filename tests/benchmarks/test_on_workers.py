"""Commands of the evidence on workers: each ends once, and none goes on without its worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from benchmarks.on_workers import TIMED_OUT, Command, Ended, run_command, run_commands

# Says its own process and its worker's; the second process that runs it ends at once.
_ENDLESS_ONCE = """
import os, sys, time
from pathlib import Path
path = Path(sys.argv[1])
if path.exists():
    print("again")
else:
    path.write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(300)
"""


def test_a_commands_code_and_words_come_back_and_it_ends_in_time() -> None:
    ended = run_command(Command("a", ("-c", "print('x'); raise SystemExit(3)")))
    assert (ended.code, ended.out) == (3, "x\n")
    late = run_command(Command("b", ("-c", "import time; time.sleep(60)"), minutes=0.01))
    assert late.code == TIMED_OUT and late.seconds < 30


def _kill_worker(path: Path, pids: list[int]) -> None:
    for _ in range(900):
        if path.is_file() and " " in path.read_text():
            break
        time.sleep(0.1)
    pids.extend(int(word) for word in path.read_text().split())
    os.kill(pids[1], signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_workers_command_ends_and_is_done_by_another(tmp_path: Path) -> None:
    path, pids = tmp_path / "first", list[int]()
    commands = [
        Command("endless", ("-c", _ENDLESS_ONCE, str(path))),
        *(Command(f"short{n}", ("-c", f"print({n})")) for n in range(2)),
    ]
    found: dict[str, Ended] = {}
    killer = threading.Thread(target=_kill_worker, args=(path, pids))
    killer.start()
    run_commands(commands, None, 2, lambda command, ended: found.setdefault(command.name, ended))
    killer.join()
    assert {name: ended.code for name, ended in found.items()} == dict.fromkeys(
        ("endless", "short0", "short1"), 0
    )
    assert found["endless"].out == "again\n"
    ends = time.monotonic() + 10
    while _runs(pids[0]) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not _runs(pids[0])


def _runs(pid: int) -> bool:
    """Whether a process still works; one that has ended may wait for init to take note of it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
