"""What a network of somebody else expects and answers: declared, read from its file, or asked for.

A wrong contract gives a network that runs and is wrong. So nothing is guessed: what the file does
not tell and labels cannot prove must be said, on the command line or in ``<model>.toml`` beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edge_malaria.data.labels import parse_classes
from edge_malaria.errors import ConfigError, UsageError
from edge_malaria.export.importers.scaling import COLOURS, RANGES, Scaling, scaling_of
from edge_malaria.prepare.contract import MASKS, RESIZES, Preparation

OUTPUTS = ("logit", "sigmoid", "softmax")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "input_range": RANGES,
    "colour": COLOURS,
    "resize": RESIZES,
    "mask": MASKS,
    "output": OUTPUTS,
}
ONLY_RANGE = "only_range"
DEFAULT_CLASSES = ("Uninfected", "Parasitized")
_ORDERS = ("Uninfected,Parasitized", "Parasitized,Uninfected")


@dataclass(frozen=True)
class Declared:
    """What somebody says about a network; None where nothing was said.

    Attributes:
        input_range, colour, resize, mask, output: of ``CHOICES``.
        classes: names in the order of the outputs; of one output, the names of 0 and of 1.
        input_size: side of the input, where the file leaves it open.
    """

    input_range: str | None = None
    colour: str | None = None
    resize: str | None = None
    mask: str | None = None
    output: str | None = None
    classes: tuple[str, ...] | None = None
    input_size: int | None = None

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise UsageError(
                    f"{option(name)}: expected one of {', '.join(choices)}, got {value!r}."
                )
        if self.classes is not None:
            positive_index(self.classes)
        if self.input_size is not None and not (1 <= self.input_size <= 4096):
            raise UsageError(f"--input-size: expected 1 to 4096 px, got {self.input_size}.")

    @property
    def said(self) -> dict[str, Any]:
        """What was said."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def over(self, other: Declared) -> Declared:
        """This, and what ``other`` says beyond it."""
        return replace(other, **self.said)


def option(name: str) -> str:
    """``--input-range`` of ``input_range``."""
    return "--" + name.replace("_", "-")


def positive_index(classes: tuple[str, ...]) -> int:
    """Which of two class names is the parasitized one.

    Args:
        classes: in the order of the outputs, as ``data.labels.parse_classes`` takes them.

    Raises:
        UsageError: not two names, or they do not tell.
    """
    names = parse_classes(",".join(classes))
    first = names.label(classes[0].partition("=")[0])
    return 0 if first == 1 else 1


def split_classes(text: str) -> tuple[str, ...]:
    """``Parasitized,Uninfected`` -> names."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


@dataclass(frozen=True)
class Contract:
    """A network's contract, complete.

    Attributes:
        origins: name -> ``declared``, ``read from the file``, ``proven from labels`` or
            ``default``.
    """

    size_px: int
    input_range: str
    colour: str
    resize: str
    mask: str
    output: str
    classes: tuple[str, ...]
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def positive(self) -> int:
        """0 or 1: the output, or the value, that means parasitized."""
        return positive_index(self.classes)

    @property
    def scaling(self) -> Scaling:
        """From pixels to the network's own input."""
        return scaling_of(self.input_range, self.colour)

    @property
    def preparation(self) -> Preparation:
        """What the device does before the network."""
        return Preparation(self.size_px, self.resize, self.mask)

    def as_json(self) -> dict[str, Any]:
        """``provenance.contract`` in bundle.json: each value and where it comes from."""
        names = ("input_range", "colour", "resize", "mask", "output", "classes")
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        values["classes"] = list(self.classes)
        made = {k: {"value": v, "from": self.origins.get(k, "declared")} for k, v in values.items()}
        return {**made, "size_px": self.size_px}

    def lines(self) -> list[str]:
        """For the log: one part a line."""
        names = ("input_range", "colour", "resize", "mask", "output", "classes")
        shown = {name: getattr(self, name) for name in names}
        shown["classes"] = ",".join(self.classes)
        return [f"{n.replace('_', ' ')} {v} ({self.origins.get(n, '?')})" for n, v in shown.items()]


def declared_of(record: Mapping[str, Any]) -> Declared:
    """What a bundle's ``provenance.contract`` says, as a declaration."""
    said = {name: record[name]["value"] for name in (*CHOICES, "classes")}
    return Declared(**{**said, "classes": tuple(said["classes"])}, input_size=record["size_px"])


def read_toml(model: Path) -> Declared:
    """``<model>.toml`` beside a model; nothing said where there is none.

    Raises:
        ConfigError: not TOML, an unknown key, a value of the wrong kind.
    """
    path = model.with_suffix(".toml")
    if not path.is_file():
        return Declared()
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not readable TOML ({error}).") from error
    known = {one.name for one in fields(Declared)}
    odd = sorted(set(value) - known)
    if odd:
        raise ConfigError(f"{path}: unknown key {odd[0]}; expected of {', '.join(sorted(known))}.")
    classes = value.get("classes")
    if isinstance(classes, str):
        value["classes"] = split_classes(classes)
    elif classes is not None:
        value["classes"] = tuple(map(str, classes))
    try:
        return Declared(**value)
    except (UsageError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def settle(
    name: str, size_px: int, declared: Declared, told: Mapping[str, str], *, labels: bool
) -> Contract:
    """Completes a contract.

    Args:
        name: of the model, for messages.
        size_px: side of the input.
        declared: from the command line and the TOML.
        told: what the file itself tells; under ``ONLY_RANGE`` a range that no other can replace.
        labels: whether labelled cells can prove the order of the classes.

    Raises:
        Incomplete: something is missing.
        UsageError: the declaration contradicts the file.
    """
    said = declared.said
    if "output" in said and said["output"] != told["output"]:
        raise UsageError(_contradiction(name, said["output"], told["output"]))
    only = told.get(ONLY_RANGE)
    if only is not None and said.get("input_range", only) != only:
        raise UsageError(
            f"{name} takes whole numbers, which are pixels {only}; --input-range "
            f"{said['input_range']} contradicts it. Leave it out."
        )
    values, origins = {}, {}
    for key in CHOICES:
        if key in said:
            values[key], origins[key] = said[key], "declared"
        elif key in told:
            values[key], origins[key] = told[key], "read from the file"
        elif key == "mask":
            values[key], origins[key] = "black", "default"
    missing = [key for key in CHOICES if key not in values]
    if declared.classes is None and not labels:
        missing.append("classes")
    if missing:
        raise Incomplete(name, missing, _line_so_far(name, declared))
    classes = declared.classes or DEFAULT_CLASSES
    origins["classes"] = "declared" if declared.classes else "to be proven"
    return Contract(size_px, classes=classes, origins=origins, **values)


def _contradiction(name: str, said: str, told: str) -> str:
    ends = {
        "sigmoid": "a sigmoid: its output is a probability and can never be read as a logit",
        "softmax": "a softmax over two classes",
        "logit": "no activation: its output is a logit",
    }[told]
    return f"{name} ends in {ends}; --output {said} contradicts it. Type: --output {told}"


_WORDS = {
    "input_range": "the range of its input",
    "colour": "the order of its colours",
    "resize": "how cells were brought to its size",
    "output": "what it answers",
    "classes": "which class is which",
}


class Incomplete(UsageError):
    """A contract with parts that nobody said and the file does not tell.

    Attributes:
        name: of the model.
        missing: of ``CHOICES`` and ``classes``.
        reason: why neither the file nor labels tell them.
    """

    def __init__(self, name: str, missing: Sequence[str], line: str, reason: str = "") -> None:
        """``line`` is the command so far; without one, ``<model>.toml`` is to say it."""
        words = ", ".join(_WORDS[key] for key in missing)
        guess = f"{name} does not tell {words}, and a guess may be wrong without being noticed"
        self.name, self.missing, self.reason = name, tuple(missing), reason or guess
        what = _lines(line, missing) if line else _toml(name, missing)
        super().__init__(f"{self.reason}. {what}")

    def on(self, line: str) -> Incomplete:
        """The same question, answered by another line."""
        return Incomplete(self.name, self.missing, line, self.reason)


def _lines(line: str, missing: Sequence[str]) -> str:
    """The lines to type. Choices of several parts are quoted: a shell would take | for a pipe."""
    choices = {key: CHOICES.get(key, _ORDERS) for key in missing}
    if len(missing) == 1:
        key = missing[0]
        each = [f"  {line} {option(key)} {choice}" for choice in choices[key]]
        return "\n".join(["Type the one that is true:", *each])
    parts = [f"{option(key)} '{'|'.join(choices[key])}'" for key in missing]
    return f"Choose one of each |, and type:\n  {' '.join([line, *parts])}"


def _toml(name: str, missing: Sequence[str]) -> str:
    """The lines of the TOML, for commands that have no such options."""
    lines = [f'  {key} = "{"|".join(CHOICES.get(key, _ORDERS))}"' for key in missing]
    path = Path(name).with_suffix(".toml")
    return "\n".join([f"Write into {path}, choosing one of each |:", *lines])


def _line_so_far(name: str, declared: Declared) -> str:
    parts = [f"edge-malaria export {name}"]
    for key, value in declared.said.items():
        shown = ",".join(value) if isinstance(value, tuple) else value
        parts.append(f"{option(key)} {shown}")
    return " ".join(parts)
