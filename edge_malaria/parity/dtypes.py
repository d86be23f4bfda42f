"""Types: of numbers that go in and come out, their scale and zero point, and of the weights.

The variant's name promises a kind: an int8 file has no float operator, and its input is the pixel
minus 128.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_malaria.parity import exact
from edge_malaria.parity.findings import Failure, signature_failure
from edge_malaria.parity.opened import OpenedFile, Subject, against_record


def check_dtypes(subject: Subject) -> list[Failure]:
    """The classifier's files against bundle.json, the contract, and each other."""
    found = []
    for file in subject.files.values():
        found += check_file_dtypes(file)
        found += _against_contract(file)
    found += _same_scales(subject.files)
    outputs = {name: engine.output for name, engine in subject.candidates.items()}
    return found + exact.scale_failures(outputs, subject.twins)


def check_file_dtypes(file: OpenedFile) -> list[Failure]:
    """dtype, scale and zero point as recorded, and the kind that the name promises."""
    found = against_record(file, "dtype", "scale", "zero_point")
    if file.kind != file.variant:
        cause = f"the file is {file.kind} under the name of {file.variant}"
        found.append(signature_failure(file.name, "quantization", file.kind, file.variant, cause))
    if file.spec.quantization != file.variant:
        got = file.spec.quantization
        found.append(signature_failure(file.name, "quantization in bundle.json", got, file.variant))
    return found


def _against_contract(file: OpenedFile) -> list[Failure]:
    """Input and output against what every bundle promises, whatever the record says."""
    found = []
    got, out = file.engine.input, file.engine.output
    integer = file.variant == "int8"
    for which, spec in (("input", got), ("output", out)):
        if integer and spec.dtype != "int8":
            cause = f"the file is {file.kind}, not int8"
            found.append(signature_failure(file.name, f"{which} dtype", spec.dtype, "int8", cause))
        if not integer and file.variant != "int8-mixed" and spec.dtype != "float32":
            found.append(signature_failure(file.name, f"{which} dtype", spec.dtype, "float32"))
    if got.dtype == "int8" and got.zero_point != -128:
        cause = "wrong zero point: int8 input is pixel - 128"
        found.append(signature_failure(file.name, "input zero point", got.zero_point, -128, cause))
    if got.dtype == "int8" and not abs(got.scale - 1.0) < 1e-6:
        cause = "wrong scale: int8 input is pixel - 128, 1/255 lies inside the network"
        found.append(signature_failure(file.name, "input scale", got.scale, 1.0, cause))
    if out.dtype == "int8" and not (np.isfinite(out.scale) and out.scale > 0):
        found.append(signature_failure(file.name, "output scale", out.scale, "> 0", "wrong scale"))
    return found


def _same_scales(files: Mapping[str, OpenedFile]) -> list[Failure]:
    """The int8 files of all engines carry the same input and output quantization."""
    found = []
    for variant in ("int8", "int8-mixed"):
        group = [file for file in files.values() if file.variant == variant]
        for file in group[1:]:
            for which in ("input", "output"):
                first, other = getattr(group[0].engine, which), getattr(file.engine, which)
                got = (float(np.float32(other.scale)), other.zero_point)
                wanted = (float(np.float32(first.scale)), first.zero_point)
                if got != wanted:
                    what = f"{which} scale and zero point"
                    cause = "wrong scale" if got[0] != wanted[0] else "wrong zero point"
                    against = f"{wanted} as in {group[0].name}"
                    found.append(signature_failure(file.name, what, got, against, cause))
    return found
