"""Reads the file of ``serve --push``: TOML, each fault named with its file, line and key."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from edge_malaria.errors import ConfigError
from edge_malaria.runtime.push.targets import Dhis2Target, FhirTarget, MqttTarget, PushSettings
from edge_malaria.runtime.store.outbox import Backoff
from edge_malaria.toml_lines import TomlLines

_KINDS: dict[str, type[FhirTarget] | type[Dhis2Target] | type[MqttTarget]] = {
    kind.kind: kind for kind in (FhirTarget, Dhis2Target, MqttTarget)
}
Record = TypeVar("Record")
_TOP = ("device", "retry", "target")


def load_push(path: Path) -> PushSettings:
    """The settings of a file.

    Raises:
        ConfigError: unreadable, not TOML, or an unknown or impossible value; names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    return _Reader(path, TomlLines(text)).settings(values)


class _Reader:
    def __init__(self, path: Path, lines: TomlLines) -> None:
        self._path, self._lines = path, lines

    def _fault(self, table: str, key: str, words: str) -> ConfigError:
        where = f"{self._path}:{self._lines.of(table, key)}"
        return ConfigError(f"{where}: {_shown(table)}{key}: {words}.")

    def settings(self, values: Mapping[str, Any]) -> PushSettings:
        for name in values:
            if name not in _TOP:
                raise self._fault("", name, f"expected one of {', '.join(_TOP)}")
        found = values.get("target", [])
        if not (isinstance(found, list) and all(isinstance(one, dict) for one in found) and found):
            raise self._fault("", "target", "expected one or more [[target]]")
        targets = tuple(self._target(f"target.{n}", one) for n, one in enumerate(found))
        names = [target.name for target in targets]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise self._fault(f"target.{number}", "name", f"{name!r} is taken already")
        chosen: dict[str, Any] = {"targets": targets, "retry": self._retry(values.get("retry", {}))}
        if "device" in values:
            chosen["device"] = self._value("", "device", values["device"], "")
        return self._made(PushSettings, "", chosen)

    def _retry(self, values: Any) -> Backoff:
        if not isinstance(values, dict):
            raise self._fault("", "retry", "expected a table [retry]")
        return self._record(Backoff, "retry", values)

    def _target(
        self, table: str, values: Mapping[str, Any]
    ) -> FhirTarget | Dhis2Target | MqttTarget:
        kind = values.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise self._fault(table, "kind", f"expected one of {', '.join(_KINDS)}, got {kind!r}")
        rest = {name: value for name, value in values.items() if name != "kind"}
        return self._record(_KINDS[kind], table, rest)

    def _record(self, record: type[Record], table: str, values: Mapping[str, Any]) -> Record:
        known = {field.name: field for field in dataclasses.fields(record)}  # type: ignore[arg-type]
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise self._fault(table, name, f"expected one of {', '.join(known)}")
            default = known[name].default
            if default is dataclasses.MISSING:
                if not isinstance(value, dict):
                    raise self._fault(table, name, "expected a table")
                chosen[name] = value
            else:
                chosen[name] = self._value(table, name, value, default)
        return self._made(record, table, chosen)

    def _value(self, table: str, name: str, value: Any, default: Any) -> Any:
        """``value`` where it is of the kind of ``default``: yes or no, text, a number."""
        kinds = (int, float) if isinstance(default, float) else (type(default),)
        sound = isinstance(value, kinds) and isinstance(value, bool) == isinstance(default, bool)
        if not sound:
            words = {bool: "true or false", str: "text"}.get(type(default), "a number")
            raise self._fault(table, name, f"expected {words}, got {str(value)[:60]!r}")
        return value

    def _made(self, record: type[Record], table: str, values: Mapping[str, Any]) -> Record:
        try:
            return record(**values)
        except ValueError as error:
            words = str(error)
            key, below = _blamed(words, values)
            raise self._fault(f"{table}.{below}" if below else table, key, words) from error


def _blamed(words: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """(key, table below or "") that a record's message is about."""
    for below, inner in values.items():
        if isinstance(inner, dict):
            for key in inner:
                if re.search(rf"(expected|got) '?{re.escape(key)}\b", words):
                    return key, below
    found = re.search(r"expected (?:0 < )?(\w+)", words)
    return (found.group(1) if found else ""), ""


def _shown(table: str) -> str:
    """A table as a person finds it: ``[[target]] 2 [data_elements] ``."""
    if not table:
        return ""
    name, *rest = table.split(".")
    shown = f"[[{name}]] {int(rest[0]) + 1} " if rest else f"[{name}] "
    return shown + "".join(f"[{below}] " for below in rest[1:])
