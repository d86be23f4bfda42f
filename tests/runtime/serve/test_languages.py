"""Every word of the pages is a message, and every message stands in every language."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from babel.messages.catalog import Message
from babel.numbers import format_decimal
from jinja2 import Environment, nodes

from edge_malaria.runtime.words.language import DEFAULT, LANGUAGES, negotiated, words_for
from tools.messages import FOLDERS, SERVE, catalogue, compiled, messages, missing, path_of

OTHERS = [language for language in LANGUAGES if language != DEFAULT]
TEMPLATES = sorted((SERVE / "templates").glob("*.html"))
PLACEHOLDER = re.compile(r"%\((\w+)\)s")
# Names and signs that are the same everywhere.
EVERYWHERE = {"edge-malaria", "P", "N", "U", "Z"}


def wanted() -> list[Message]:
    return [message for message in messages() if message.id]


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated(language: str) -> None:
    assert missing(language) == []
    kept = {_ids(message) for message in catalogue(language) if message.id}
    assert kept == {_ids(message) for message in wanted()}, "run python -m tools.messages"
    read = path_of(language).with_suffix(".mo").read_bytes()
    assert read == compiled(language), "run python -m tools.messages"


def _ids(message: Message) -> tuple[str, ...]:
    return message.id if isinstance(message.id, tuple) else (message.id,)


@pytest.mark.parametrize("language", OTHERS)
def test_placeholders_agree(language: str) -> None:
    known = catalogue(language)
    for message in wanted():
        ids = _ids(message)
        strings = known[message.id].string
        for text in strings if isinstance(strings, tuple) else (strings,):
            assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(ids[-1])), text
            # Any other percent sign would break the formatting.
            assert "%" not in PLACEHOLDER.sub("", text), text


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_is_not_english_again(language: str) -> None:
    known = catalogue(language)
    sentences = [m for m in wanted() if isinstance(m.id, str) and m.id.endswith(".")]
    assert len(sentences) > 60
    assert all(known[m.id].string != m.id for m in sentences)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_word_stands_in_a_template(path: Path) -> None:
    """Text outside of messages, and attributes that are read out, hold no letters."""
    tree = Environment(autoescape=True, trim_blocks=True).parse(path.read_text(encoding="utf-8"))
    text = "".join(data.data if isinstance(data, nodes.TemplateData) else "\0"
                   for data in tree.find_all((nodes.TemplateData, nodes.Call)))  # fmt: skip
    shown = re.sub(r"<[^>]*>", " ", text)
    words = re.findall(r"[A-Za-z-]{1,}", re.sub(r"&\w+;", " ", shown))
    assert [word for word in words if word not in EVERYWHERE] == []
    read_out = re.findall(r'(?:alt|title|placeholder|aria-label)="([^"]*)"', text)
    assert [value for value in read_out if re.search("[A-Za-z]", value)] == []


def test_the_test_above_sees_words(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        bad = tmp_path / "bad.html"
        bad.write_text('<p>Hello</p><img alt="x">')
        test_no_word_stands_in_a_template(bad)


def test_languages_are_negotiated() -> None:
    assert negotiated("", "fr-CH,fr;q=0.9,en;q=0.8") == "fr"
    assert negotiated("sw", "fr") == "sw"
    assert negotiated("xx", "de,ja") == "en"
    assert negotiated("", "pt-BR") == "pt"
    assert negotiated("", "\x00;;;") == "en"


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_are_written_as_the_language_does(language: str) -> None:
    """Against the Unicode consortium's own data in Babel, which no device needs."""
    words = words_for(language)
    rng = np.random.default_rng(3)
    values = [0, 7, 999, 1000, 99999, 123456, 12345678, -4321, 0.5, 0.125, 1234.5]
    values += [int(v) for v in 10 ** rng.uniform(0, 9, 200)]
    values += [float(f"{v:.2g}") for v in 10 ** rng.uniform(-2, 7, 200)]
    for value in values:
        wanted = format_decimal(value, locale=language, numbering_system="latn")
        assert words.number(value) == wanted, value


def test_numbers_keep_their_digits() -> None:
    for language in LANGUAGES:
        words = words_for(language)
        assert re.sub(r"\D", "", words.number(1234567)) == "1234567"
        assert re.sub(r"[^\d]", "", words.share(0.0123)) == "12"
        assert re.sub(r"[^\d]", "", words.share(0.000123)) == "0012"
        assert [words.share(v) for v in (0.6327, 0.0, 1.0)] == [
            "63\u00a0%",
            "0\u00a0%",
            "100\u00a0%",
        ]
    assert (words_for("fr").share(0.0123), words_for("en").share(0.0123)) == (
        "1,2\u00a0%", "1.2\u00a0%",
    )  # fmt: skip
    for language in LANGUAGES:
        words = words_for(language)
        assert words.count("%(n)s cell", "%(n)s cells", 3)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_no_message_hides_from_the_catalogues(folder: Path) -> None:
    """Babel does not look into f-strings: a message there would never be translated."""
    known = {text for message in wanted() for text in _ids(message)}
    hidden = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node) in ("say", "mark", "_"):
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    hidden += [first.value] * (first.value not in known)
    assert hidden == []


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))
