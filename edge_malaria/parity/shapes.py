"""Shapes: of every file's input and output, against bundle.json and the contract."""

from __future__ import annotations

import numpy as np

from edge_malaria.parity.findings import Failure, signature_failure
from edge_malaria.parity.opened import OpenedFile, Subject, against_record


def check_shapes(subject: Subject) -> list[Failure]:
    """The classifier's files: S x S x 3 in, one logit out, whatever bundle.json says."""
    found = []
    size_px = subject.spec.size_px
    for file in subject.files.values():
        found += check_file_shapes(file)
        got, out, wanted = file.engine.input.shape, file.engine.output.shape, (size_px, size_px, 3)
        if got != wanted:
            found.append(signature_failure(file.name, "input shape", got, wanted))
        if int(np.prod(out)) != 1:
            found.append(signature_failure(file.name, "output values a cell", out, "one logit"))
    return found


def check_file_shapes(file: OpenedFile) -> list[Failure]:
    """The shapes of a file's input and output, of a classifier or a finder."""
    return against_record(file, "shape")
