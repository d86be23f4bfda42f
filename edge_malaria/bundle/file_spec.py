"""One model file of a bundle: its engine, its honest name, its tensors and its hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_malaria.records import expect

ENGINE_FORMATS = {"litert": "tflite", "onnx": "onnx"}


@dataclass(frozen=True)
class TensorSpec:
    """A model's input or output.

    Attributes:
        name: the tensor's name in the file.
        shape: without the batch axis.
        dtype: numpy name: float32, int8 or uint8.
        scale, zero_point: real = scale * (q - zero_point); 0.0 and 0 for float32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    def as_json(self) -> dict[str, Any]:
        """The JSON object in bundle.json."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "scale": self.scale,
            "zero_point": self.zero_point,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TensorSpec:
        """The inverse of ``as_json``."""
        return cls(
            str(value["name"]),
            tuple(int(side) for side in value["shape"]),
            str(value["dtype"]),
            float(value["scale"]),
            int(value["zero_point"]),
        )


@dataclass(frozen=True)
class FileSpec:
    """One model file of one variant for one engine."""

    engine: str
    file: str
    bytes: int
    sha256: str
    quantization: str
    input: TensorSpec
    output: TensorSpec

    def __post_init__(self) -> None:
        expect(self.engine in ENGINE_FORMATS, f"engine in {sorted(ENGINE_FORMATS)}", self.engine)

    def as_json(self) -> dict[str, Any]:
        """The JSON object in bundle.json."""
        return {
            "engine": self.engine,
            "file": self.file,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "quantization": self.quantization,
            "input": self.input.as_json(),
            "output": self.output.as_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FileSpec:
        """The inverse of ``as_json``."""
        return cls(
            str(value["engine"]),
            str(value["file"]),
            int(value["bytes"]),
            str(value["sha256"]),
            str(value["quantization"]),
            TensorSpec.from_json(value["input"]),
            TensorSpec.from_json(value["output"]),
        )
