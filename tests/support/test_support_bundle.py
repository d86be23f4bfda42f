"""What leaves a device for support: secrets are planted everywhere, and none may arrive."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.files import write_image
from edge_malaria.runtime.slide.field_line import FieldLine
from edge_malaria.runtime.slide.journal import Journal
from edge_malaria.runtime.slide.lines import HeaderLine, ReviewLine
from edge_malaria.runtime.store.database import open_database
from edge_malaria.runtime.store.slides import SLIDES, SlideEntry, Worklist
from edge_malaria.support.bundle import write_support_bundle
from edge_malaria.support.redaction import REMOVED, Redactor
from tests.cli import run_cli, run_process

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub"
TOKEN = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
# Every one of them is planted; none may be in any file of the zip, in capitals or not.
SECRETS = (
    "PATIENT-0417", "Amina Okafor", "Sam Weber", "field_kwame_03", "hill-clinic", HASH, TOKEN,
    "192.0.2.77", "hunter2hunter2", "s3cr3t-token-value", "jane@hospital.example",
    "de:ad:be:ef:00:01", "20261127-101112-abcdef", "mqtt-user", "PRIVATE-KEY-BODY",
)  # fmt: skip


@pytest.fixture(autouse=True)
def any_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' folders may lie in memory."""
    monkeypatch.setenv("EDGE_MALARIA_FORGETFUL_DISK", "1")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device's data folder with one slide that was read and judged, users and an audit trail."""
    data, name = tmp_path / "data", "20261127-101112-abcdef"
    entry = SlideEntry(
        name, "PATIENT-0417", "Amina Okafor", "hill-clinic.json", state="paused",
        created="2026-11-27T10:11:12+00:00", signed_by="Sam Weber",
    )  # fmt: skip
    opened = open_database(data)
    Worklist(opened, data).put(entry)
    opened.execute(
        "INSERT INTO users (name, role, password_hash, created) VALUES (?, 'admin', ?, ?)",
        ("Sam Weber", HASH, "2026-11-01"),
    )
    opened.execute("INSERT INTO sessions VALUES (?, 'Sam Weber', 1, 1)", (TOKEN,))
    opened.execute(
        "INSERT INTO audit (at, who, role, address, action, slide, detail) "
        "VALUES ('2026-11-27', 'Sam Weber', 'admin', '192.0.2.77', 'slide-made', ?, ?)",
        (name, "PATIENT-0417"),
    )
    opened.close()
    journal = Journal(data / SLIDES / name, HeaderLine(("/media/field_kwame_03.jpg",), "ab"))
    journal.append(entry.fact())
    journal.append(FieldLine("field_kwame_03.jpg", 0, "too-dark"))
    journal.append(ReviewLine("field_kwame_03.jpg", 0, "unsure", "Amina Okafor", "2026-11-27"))
    journal.close()
    folder = data / SLIDES / name / "fields"
    write_image(folder / "field_kwame_03.jpg", np.full((40, 50, 3), 200, np.uint8))
    with (data / SLIDES / name / "journal.jsonl").open("ab") as handle:
        handle.write(b"PATIENT-0417 torn line\n")
    return data


def logs(tmp_path: Path) -> Path:
    path = tmp_path / "serve.log"
    path.write_text(
        "Amina Okafor started PATIENT-0417 from 192.0.2.77\n"
        "amina okafor / AMINA_OKAFOR / patient-0417x reads /media/field_kwame_03.jpg\n"
        "POST /slides/20261127-101112-abcdef/decide failed\n"
        f"password=hunter2hunter2 {HASH} cookie: em={TOKEN}\n"
        "Authorization: Bearer s3cr3t-token-value\n"
        "mqtt://mqtt-user:hunter2hunter2@broker/ mail jane@hospital.example\n"
        "wlan0 de:ad:be:ef:00:01\n"
        "-----BEGIN PRIVATE KEY-----\nPRIVATE-KEY-BODY\n-----END PRIVATE KEY-----\n"
        "camera:0 delivered no frame for 10 s.\n"
    )
    return path


def config(tmp_path: Path) -> Path:
    path = tmp_path / "device.toml"
    path.write_text(
        '[report]\nlanguage = "sw"\n[camera]\nexposure = 120.5\nfourcc = "MJPG"\n'
        'empty_place = "/home/Sam Weber/e.json"\n'
        '[[push.mqtt]]\nname = "hill-clinic"\nuser = "mqtt-user"\n'
        'password_file = "/etc/hunter2hunter2"\n[secret]\ntoken = "s3cr3t-token-value"\n'
    )
    return path


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_no_planted_secret_arrives(device: Path, tmp_path: Path) -> None:
    out = tmp_path / "help.zip"
    done = run_process(
        "support-bundle", "-o", out, "--data", device, "--config", config(tmp_path),
        "--log", logs(tmp_path),
    )  # fmt: skip
    assert done.code == 0, done.err
    found = contents(out)
    assert not any(name.startswith("pictures") for name in found)
    everything = "\n".join(found) + "\n" + b"\n".join(found.values()).decode()
    for secret in SECRETS:
        assert secret.casefold() not in everything.casefold(), secret
    for part in ("kwame", "okafor", "argon2id"):
        assert part not in everything.casefold(), part


def test_what_helps_is_there(device: Path, tmp_path: Path) -> None:
    out = tmp_path / "help.zip"
    write_support_bundle(out, device, config(tmp_path), [logs(tmp_path)])
    found = contents(out)
    settings = json.loads(found["configuration.json"])
    assert settings["report"] == {"language": "sw"}
    assert (settings["camera"]["exposure"], settings["camera"]["fourcc"]) == (120.5, "MJPG")
    assert "camera:0 delivered no frame for 10 s." in found["log.txt"].decode()
    (slide,) = json.loads(found["slides.json"])
    assert slide["state"] == "paused"
    assert slide["fields"] == {"too-dark": 1}
    assert slide["lines"] == {"damaged": 1, "field": 1, "header": 1, "review": 1, "slide": 1}
    store = json.loads(found["store.json"])
    assert store["quick_check"] and store["rows"]["users"] == 1 and store["rows"]["audit"] == 1
    assert "numpy" in json.loads(found["versions.json"])["packages"]
    assert {one["what"] for one in json.loads(found["doctor.json"])} >= {"disk", "clock", "numpy"}


def test_pictures_only_where_they_are_asked_for(device: Path, tmp_path: Path) -> None:
    out = tmp_path / "help.zip"
    made = write_support_bundle(out, device, logs=[logs(tmp_path)], pictures=True)
    names = [name for name in contents(out) if name.startswith("pictures")]
    assert names == ["pictures/slides-0001/00001.jpg"] and made.pictures == 1


def test_an_unreadable_configuration_and_a_damaged_database_do_not_end_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "store.sqlite3").write_bytes(b"no database at all")
    bad = tmp_path / "bad.toml"
    bad.write_text("[camera\npassword = 'hunter2hunter2'")
    out = tmp_path / "help.zip"
    write_support_bundle(out, data, bad, [tmp_path / "missing.log"])
    found = contents(out)
    assert json.loads(found["configuration.json"]) == {"error": "TOMLDecodeError"}
    assert json.loads(found["store.json"])["error"] == "DatabaseError"
    assert b"hunter2" not in b"".join(found.values())


def test_short_codes_go_as_words_alone() -> None:
    clean = Redactor(["7", "Al", "José Núñez"]).clean
    assert clean("sample 7 of 17, 7.5") == f"sample {REMOVED} of 17, {REMOVED}.5"
    assert clean("Al asked Alina") == f"{REMOVED} asked Alina"
    assert clean("by JOSÉ  NÚÑEZ") == f"by {REMOVED}"
    assert clean("127.0.0.1:8765 and 10.1.2.3") == f"127.0.0.1:8765 and {REMOVED}"


def test_it_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"kept")
    assert run_cli("support-bundle", "-o", tmp_path / "a.zip").code == 2
    assert (tmp_path / "a.zip").read_bytes() == b"kept"
    assert run_cli("support-bundle", "-o", tmp_path / "a.txt").code == 2
