"""The server's log, as a person and as a program reads it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import httpx2 as httpx
import pytest

from edge_malaria.runtime.serve.logs import JsonLines, Sentences
from tests.cli import run_process
from tests.runtime.serve.served import MICRO, SIM, Browser, process


def record(level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("edge_malaria.serve", level, "f", 1, "made %s", ('ক\n"',), None)
    made.__dict__.update(extra)
    return made


def test_a_line_is_one_object_whatever_stands_in_it() -> None:
    text = JsonLines().format(record(logging.WARNING, fields={"slide": "s1"}))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["message"], line["slide"]) == ("warning", 'made ক\n"', "s1")
    assert line["time"].endswith("+00:00")
    assert Sentences("%(message)s").format(record(logging.WARNING)).startswith("warning: made")


@pytest.mark.slow
def test_every_line_of_a_running_server_is_an_object(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = (*MICRO, "--source", SIM, "--log-json")
    with (
        process(tmp_path / "data", *options, log=log) as (_, address),
        httpx.Client(base_url=address, follow_redirects=False) as client,
    ):
        Browser(client).post("/new", sample="A-1", reader="Amina Okafor", source=SIM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    (made,) = [line for line in lines if line.get("action") == "slide-made"]
    assert made["slide"]
    assert "Amina" not in log.read_text() and "A-1" not in log.read_text()


def test_check_names_file_line_and_key_and_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    path.write_text("[camera]\nwarm_up_s = 2\n[verdict]\nmax_lod = 7\n")
    done = run_process("serve", "--check", "--config", path, "--data", tmp_path / "data")
    assert done.code == 2 and f"{path}:4: [verdict] max_lod" in done.err, done.err
    path.write_text("[camera]\nwarm_up_s = 2\n")
    assert run_process("serve", "--check", "--config", path, "--data", tmp_path / "data").code == 0
    assert not (tmp_path / "data").exists()
