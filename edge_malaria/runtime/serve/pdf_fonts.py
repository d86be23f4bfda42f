"""Fonts of this machine for the PDF: every letter must have a shape, or the PDF is refused.

A letter that is left out of a sample's code would name another sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fpdf import FPDF
from fpdf.fonts import TTFFont

from edge_malaria.runtime.serve.refused import Refused

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
# Debian's packages fonts-dejavu-core, fonts-noto-core, fonts-liberation; with their bold cuts.
_LATIN = (
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("NotoSans-Regular.ttf", "NotoSans-Bold.ttf"),
    ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
)
# fonts-noto-core, fonts-beng (fonts-lohit-beng-bengali), fonts-freefont-ttf.
_BENGALI = (
    ("NotoSansBengali-Regular.ttf", "NotoSansBengali-Bold.ttf"),
    ("Lohit-Bengali.ttf", "Lohit-Bengali.ttf"),
    ("FreeSans.ttf", "FreeSansBold.ttf"),
)
MAIN, BENGALI = "main", "bengali"


def _found(names: Sequence[tuple[str, str]], folders: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first pair of which the regular cut is there; without a bold one it stands for both."""
    files: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            files |= {path.name: path for path in folder.rglob("*.ttf")}
    for regular, bold in names:
        if regular in files:
            return files[regular], files.get(bold, files[regular])
    return None


def add_fonts(pdf: FPDF, texts: str, folders: Iterable[Path] = FOLDERS) -> str:
    """Adds what ``texts`` need and returns the family to write with.

    Raises:
        Refused: a letter has no shape in any font of this machine; names the package to install.
    """
    folders = tuple(folders)
    latin, bengali = _found(_LATIN, folders), _found(_BENGALI, folders)
    if latin is None:
        # PDF's own Helvetica needs no file, and knows Western European letters alone.
        missing = {letter for letter in texts if not _western(letter)}
        if missing:
            raise _unknown(missing)
        return "helvetica"
    for style, path in zip(("", "B"), latin, strict=True):
        pdf.add_font(MAIN, style, path)
    known = _letters(pdf, MAIN)
    if bengali is not None and not {ord(letter) for letter in texts} <= known:
        for style, path in zip(("", "B"), bengali, strict=True):
            pdf.add_font(BENGALI, style, path)
        pdf.set_fallback_fonts([BENGALI], exact_match=False)
        pdf.set_text_shaping(True)
        known |= _letters(pdf, BENGALI)
    missing = {letter for letter in texts if ord(letter) not in known and not letter.isspace()}
    if missing:
        raise _unknown(missing)
    return MAIN


def close_fonts(pdf: FPDF) -> None:
    """Closes the files of the fonts: nothing else does before memory is collected."""
    for font in pdf.fonts.values():
        if isinstance(font, TTFFont):
            font.close()


def _letters(pdf: FPDF, family: str) -> set[int]:
    """The code points that a font of a file has shapes for."""
    font = pdf.fonts[family]
    return set(font.cmap) if isinstance(font, TTFFont) else set()


def _western(letter: str) -> bool:
    try:
        letter.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _unknown(missing: set[str]) -> Refused:
    return Refused(
        "This device has no font for these letters: %(letters)s. Install the package "
        "fonts-noto-core, or take the page, FHIR or CSV.",
        letters="".join(sorted(missing)[:20]),
    )
