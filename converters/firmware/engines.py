"""The microcontroller's side of the parity matrix: the C file and TensorFlow Lite Micro.

    c.int8          the C file, rounding as TensorFlow Lite Micro does (the default of firmware)
    c-xnnpack.int8  the C file, rounding as XNNPACK does: must give LiteRT's bits
    tflm.int8       TensorFlow Lite Micro's interpreter: must give the first one's bits

They are handed to ``edge_malaria.parity.gate`` as further candidates; parity itself knows neither.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from converters.firmware import to_c
from converters.firmware.c_engine import HEADER, SOURCE, CEngine
from converters.firmware.check import host_compiler
from converters.firmware.golden import expected_outputs
from converters.firmware.steps import Refused
from converters.firmware.tflm_engine import TflmEngine
from converters.quiet import quiet
from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.bundle.golden import read_goldens
from edge_malaria.bundle.spec import Bundle
from edge_malaria.errors import (
    BundleIntegrityError,
    EnvironmentProblem,
    ModelFileError,
    ModelShapeError,
    UsageError,
)
from edge_malaria.parity import Beside
from edge_malaria.parity.exact import Twin
from edge_malaria.runtime.engines.base import ENGINES, Engine

NAMES = ("c", "tflm")
# Golden cells that the reference kernels run too; they are slow.
_REFERENCE_CELLS = 48
_UNLIKE = "the C file's weights, scales or kernels are not those of the network"


@dataclass(eq=False)
class FirmwareEngines:
    """Candidates for ``gate``: its ``extra``, ``twins`` and ``left_out``.

    ``second``: those of the bundle's second network, where it has one.
    """

    engines: dict[str, Engine] = field(default_factory=dict)
    twins: dict[str, list[Twin]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    second: FirmwareEngines | None = None

    def beside(self, reference: Engine | None = None) -> Beside | None:
        """``second`` for ``gate``; ``reference``: Keras's engine of the second network."""
        of = self.second
        if of is None:
            return None
        return Beside(reference, of.engines, of.twins, tuple(of.left_out))


def split_names(named: Sequence[str] | None) -> tuple[list[str] | None, list[str] | None]:
    """(device engines, microcontroller engines) of a list of names; None where none was given.

    Raises:
        UsageError: an unknown name.
    """
    if named is None:
        return None, None
    for name in named:
        if name not in (*ENGINES, *NAMES):
            known = ", ".join((*ENGINES, *NAMES))
            raise UsageError(f"unknown engine {name!r}: expected one of {known}.")
    return [n for n in named if n in ENGINES], [n for n in named if n in NAMES]


def firmware_engines(
    bundle: Bundle, named: Sequence[str] | None, folder: Path | None = None
) -> FirmwareEngines:
    """What of the two can run here.

    Args:
        bundle: its int8 .tflite file is generated from, or run.
        named: engines that must run; None takes what this machine has.
        folder: written by ``edge-malaria firmware``: its very files are compiled; None generates
            them anew.

    Raises:
        EnvironmentProblem: a named engine is missing here (exit 3).
        Refused, ModelFileError, GateFailed: a named engine cannot run this bundle; ``folder``
            holds no C file, or one that does not compile.
    """
    found = _engines(bundle, bundle, named, folder)
    if bundle.second is not None:
        found.second = _engines(bundle, bundle.second, named, folder)
    return found


def _engines(
    whole: Bundle, part: Bundle, named: Sequence[str] | None, folder: Path | None
) -> FirmwareEngines:
    """Those of one network; ``part``: the bundle itself, or that of its second network."""
    found = FirmwareEngines()
    for name, add in (("tflm", _add_tflm), ("c", _add_c)):
        required = (named is not None and name in named) or (name == "c" and folder is not None)
        if named is not None and not required:
            continue
        try:
            add(found, whole, part, folder)
        except (EnvironmentProblem, ModelShapeError, ModelFileError, BundleIntegrityError) as error:
            if required:
                raise
            found.left_out.append(f"{name}.int8: {str(error).splitlines()[0]}")
    return found


def _int8_file(bundle: Bundle) -> FileSpec:
    spec = bundle.classifier.variants.get("int8", {}).get("litert")
    if spec is None:
        raise Refused(f"{bundle.name} has no int8 .tflite for a microcontroller.")
    return spec


def _add_tflm(found: FirmwareEngines, whole: Bundle, part: Bundle, folder: Path | None) -> None:
    file = _int8_file(part)
    found.engines["tflm.int8"] = TflmEngine(part.read(file.file), file)


def _add_c(found: FirmwareEngines, whole: Bundle, part: Bundle, folder: Path | None) -> None:
    file, second = _int8_file(part), part is not whole
    if host_compiler() is None:
        raise EnvironmentProblem("no C compiler (cc, gcc or clang) on this machine.")
    if folder is not None and not ((folder / SOURCE).is_file() and (folder / HEADER).is_file()):
        raise ModelFileError(
            f"{folder} holds no {SOURCE} and {HEADER}. Write them with: edge-malaria firmware"
        )
    model, size_px = part.read(file.file), part.classifier.size_px
    with tempfile.TemporaryDirectory() as work:
        # A C file holds both networks; one alone is enough where it is compiled for this.
        network = to_c.write_sources(model, Path(work), name=file.file)
        inside = second and folder is not None
        place = folder or Path(work)
        plain, xnnpack = (CEngine(place, r, size_px, second=inside) for r in (0, 1))
        if folder is not None:
            to_c.write_bundle_sources(whole, Path(work))
        cause = _UNLIKE if folder is None else _what_differs(folder, Path(work), plain, file)
    found.engines |= {"c.int8": plain, "c-xnnpack.int8": xnnpack}
    found.twins["c-xnnpack.int8"] = [Twin("litert.int8", cause)]
    found.twins["c.int8"] = [Twin("tflm.int8", cause)]
    cells = read_goldens(part.contents).cells.inputs
    rows = np.arange(0, len(cells), max(1, len(cells) // _REFERENCE_CELLS))
    pixels = (cells[rows] ^ np.uint8(128)).view(np.int8).reshape(-1, *network.input.shape)
    with quiet():
        expected = expected_outputs(model, network, pixels)
    if 0 in expected:
        of = "TensorFlow Lite Micro's rules on LiteRT's reference kernels"
        found.twins["c.int8"].append(Twin(of, cause, rows, expected[0].reshape(-1)))
    else:
        found.left_out.append("c.int8 bit for bit against the reference kernels: they did not run")


def _what_differs(folder: Path, generated: Path, engine: CEngine, file: FileSpec) -> str:
    """Where the given C file is not what is generated from this bundle's network."""
    if engine.model_sha256 != file.sha256:
        return (
            f"the C file was generated from another network (sha256 {engine.model_sha256[:12]}, "
            f"{file.file} has {file.sha256[:12]})"
        )
    given = (folder / SOURCE).read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = (generated / SOURCE).read_text(encoding="utf-8").splitlines()
    place = ""
    # The first lines name the bundle; an array's numbers stand below the line that names it.
    for number, (mine, theirs) in enumerate(zip(given, wanted, strict=False), start=1):
        if theirs.startswith("static const "):
            place = theirs.split("[")[0].split()[-1]
        if mine != theirs and place:
            return f"{SOURCE} was changed in line {number}, at or after {place}"
    return _UNLIKE
