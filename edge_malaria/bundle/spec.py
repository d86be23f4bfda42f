"""A bundle that was read and verified, and the models in it.

``format`` reads and writes it. See docs/BUNDLE.md for every key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_malaria.bundle.contents import INDEX
from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.file_spec import FileSpec
from edge_malaria.errors import BundleIntegrityError, BundleSchemaError, UsageError
from edge_malaria.prepare.contract import Preparation, Target

VARIANTS = ("float32", "float16", "dynamic", "int8", "int8-mixed")
OPERATING_POINTS = ("balanced", "screening")
# A bundle whose int8 is partly float may stand beside one whose int8 is whole, and the other way.
_OTHERWISE = {"int8": "int8-mixed", "int8-mixed": "int8"}


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """One model of a bundle.

    Attributes:
        task: ``classify-cell`` or ``find-cells``.
        labels: of the classifier, ("uninfected", "parasitized").
        size_px: side of the square input; 0 for a fully convolutional finder.
        variants: variant -> engine -> file.
        decision: how its logit becomes a call.
        record: the whole JSON object.
        preparation: of a classifier, the way from a crop to its input.
    """

    task: str
    labels: tuple[str, ...]
    size_px: int
    variants: Mapping[str, Mapping[str, FileSpec]]
    decision: DecisionRecord
    record: Mapping[str, Any]
    preparation: Preparation | None = None

    @property
    def target(self) -> Target:
        """What ``prepare.preprocess`` takes: the preparation, or the side where there is none."""
        return self.preparation or self.size_px

    def threshold(self, operating_point: str) -> float:
        """The probability at or above which a cell is positive, strictly between 0 and 1.

        Raises:
            UsageError: the bundle has no such operating point.
        """
        points = self.decision.thresholds
        if operating_point not in points:
            raise UsageError(
                f"no operating point {operating_point!r}: expected one of {sorted(points)}."
            )
        return points[operating_point]

    def file(self, variant: str, engine: str) -> FileSpec:
        """The file of one variant for one engine.

        Raises:
            UsageError: not in the bundle; the message lists what is.
        """
        found = self.variants.get(variant, {}).get(engine)
        if found is None:
            have = ", ".join(f"{v}/{e}" for v, files in self.variants.items() for e in files)
            raise UsageError(f"the bundle has no {variant} for {engine}: it has {have}.")
        return found


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle.

    Attributes:
        path: directory or zip.
        name, version: of the model.
        models: ``classifier`` and perhaps ``finder``.
        record: bundle.json as read.
        contents: relative name -> bytes, for every recorded file.
        second: the bundle of the network that is asked about possible cells; None where there is
            none.
    """

    path: Path
    name: str
    version: str
    models: Mapping[str, ModelSpec]
    record: Mapping[str, Any]
    contents: Mapping[str, bytes]
    second: Bundle | None = None

    @property
    def classifier(self) -> ModelSpec:
        """The cell classifier."""
        return self.models["classifier"]

    @property
    def finder(self) -> ModelSpec | None:
        """The cell finder, where the bundle has one."""
        return self.models.get("finder")

    def second_file(self, variant: str, engine: str) -> FileSpec | None:
        """The second network's file beside one of the classifier's; None without a second network.

        Raises:
            BundleSchemaError: it has none for that engine.
        """
        if self.second is None:
            return None
        variants = self.second.classifier.variants
        for name in (variant, _OTHERWISE.get(variant, variant)):
            if engine in variants.get(name, {}):
                return variants[name][engine]
        raise BundleSchemaError(
            f"{self.second.path}: no {variant} for {engine}, which the first network has. "
            "Export the bundle again."
        )

    def deciding_sha256(self, variant: str, engine: str) -> str:
        """SHA-256 of what decides.

        Of the classifier's file; where there is a second network, of the text "FIRST SECOND" with
        the SHA-256 of both files.
        """
        first, second = self.classifier.file(variant, engine), self.second_file(variant, engine)
        if second is None:
            return first.sha256
        return sha256_hex(f"{first.sha256} {second.sha256}".encode())

    def read(self, name: str) -> bytes:
        """The verified bytes of a file of the bundle.

        Raises:
            BundleIntegrityError: the bundle does not record such a file.
        """
        if name not in self.contents:
            raise BundleIntegrityError(f"{self.path}: {name} is not recorded in {INDEX}.")
        return self.contents[name]


def sha256_hex(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
