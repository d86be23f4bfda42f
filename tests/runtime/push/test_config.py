"""The file of ``serve --push``: read whole, or refused with its file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_malaria.errors import ConfigError
from edge_malaria.runtime.push.config import load_push
from edge_malaria.runtime.push.targets import Dhis2Target, FhirTarget, MqttTarget
from tests.cli import run_cli

SOUND = """\
device = "ward-7"

[retry]
first_s = 5

[[target]]
kind = "fhir"
name = "laboratory"
url = "https://fhir.example.org/r4"
token_file = "TOKEN"

[[target]]
kind = "dhis2"
name = "district"
url = "https://dhis2.example.org"
user = "device"
password_file = "TOKEN"
program = "a1234567890"
program_stage = "b1234567890"
org_unit = "c1234567890"
[target.data_elements]
verdict = "d1234567890"
sample = "e1234567890"

[[target]]
kind = "mqtt"
name = "ward"
host = "broker.example.org"
since = "2026-11-01"
"""


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret\n")
    return path


def written(folder: Path, text: str, token: Path) -> Path:
    path = folder / "push.toml"
    path.write_text(text.replace("TOKEN", str(token)))
    return path


def test_a_sound_file_is_read(tmp_path: Path, token: Path) -> None:
    settings = load_push(written(tmp_path, SOUND, token))
    assert (settings.device, settings.retry.first_s) == ("ward-7", 5)
    fhir, dhis2, mqtt = settings.targets
    assert isinstance(fhir, FhirTarget) and fhir.token_file == str(token)
    assert isinstance(dhis2, Dhis2Target) and dhis2.data_elements["sample"] == "e1234567890"
    assert isinstance(mqtt, MqttTarget) and (mqtt.tls, mqtt.qos) == (True, 2)


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ('device = "ward-7"', 'device = "ward 7"', 1, "device"),
        ('device = "ward-7"', "device = 7", 1, "device"),
        ('device = "ward-7"', 'devise = "ward-7"', 1, "devise"),
        ("first_s = 5", "first_s = 0", 4, "first_s"),
        ("first_s = 5", "first_s = true", 4, "first_s"),
        ("first_s = 5", "first_s = nan", 4, "first_s"),
        ('kind = "fhir"', 'kind = "hl7"', 7, "kind"),
        ('name = "district"', 'name = "laboratory"', 14, "name"),
        ("https://fhir.example.org/r4", "http://fhir.example.org/r4", 9, "url"),
        ("https://dhis2.example.org", "ftp://dhis2.example.org", 15, "url"),
        ("https://dhis2.example.org", "https://dhis2.example.org?a=1", 15, "url"),
        ('token_file = "TOKEN"', 'token_file = "no such file"', 10, "token_file"),
        ('token_file = "TOKEN"', 'user = "x"', 10, "user"),
        ("a1234567890", "1234567890a", 18, "program"),
        ("b1234567890", "b123", 19, "program_stage"),
        ('verdict = "d', 'verdikt = "d', 22, "verdikt"),
        ("e1234567890", "e12345", 23, "sample"),
        ('host = "broker.example.org"', 'host = ""', 28, "host"),
        ('host = "broker.example.org"', 'host = "b"\ntls = false', 29, "tls"),
        ('host = "broker.example.org"', 'host = "b"\nqos = 0', 29, "qos"),
        ('host = "broker.example.org"', 'host = "b"\ntopic = "a/#"', 29, "topic"),
        ('since = "2026-11-01"', 'since = "November"', 29, "since"),
    ],
)
def test_a_fault_is_named_with_its_line_and_key(
    tmp_path: Path, token: Path, old: str, new: str, line: int, key: str
) -> None:
    assert old in SOUND
    path = written(tmp_path, SOUND.replace(old, new), token)
    with pytest.raises(ConfigError) as caught:
        load_push(path)
    assert str(caught.value).startswith(f"{path}:{line}: "), caught.value
    assert f"{key}: " in str(caught.value), caught.value


@pytest.mark.parametrize("text", ["", "x = [", "target = 3", "[target]\nkind = 'fhir'", "\x00"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, token: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"push\.toml"):
        load_push(written(tmp_path, text, token))
    with pytest.raises(ConfigError, match="cannot read"):
        load_push(tmp_path / "none.toml")


def test_the_command_checks_and_starts_nothing(tmp_path: Path, token: Path) -> None:
    path = written(tmp_path, SOUND, token)
    words = ("serve", "--data", tmp_path / "data", "--push", path, "--check")
    ran = run_cli(*words)
    assert (ran.code, "sound" in ran.err) == (0, True)
    path.write_text(path.read_text().replace("first_s = 5", "first_s = -5"))
    ran = run_cli(*words)
    assert ran.code == 2
    assert f"{path}:4: [retry] first_s: " in ran.error
    assert not (tmp_path / "data").exists()
