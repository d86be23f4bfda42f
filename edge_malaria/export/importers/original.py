"""A foreign model as it came: its graph, how to run it, and what its file tells of its contract."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import graph_copies
from converters.quiet import quiet, require
from edge_malaria.errors import ModelFileError, ModelShapeError, UsageError
from edge_malaria.export.importers.contract import ONLY_RANGE
from edge_malaria.export.importers.file_signature import check_signature
from edge_malaria.export.importers.graph import Graph, read_graph
from edge_malaria.export.importers.keras_input import agreed_side
from edge_malaria.export.importers.pickles import PICKLES, TORCH, instead

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
OPSET = 17
KINDS = (".keras", ".h5", ".hdf5", ".json", ".onnx", ".tflite")
# Cells at a time while a foreign model runs, as pixels: 4 of 224 x 224, or 49 of 64 x 64.
_PIXELS_AT_ONCE = 4 * 224 * 224


@dataclass(frozen=True, eq=False)
class Original:
    """A foreign model.

    Attributes:
        path, name, kind: where it lies, its stem, and what it is for a person.
        graph: as an ONNX graph.
        run: float32 [N, S, S, 3] in the network's own range and colours -> float32 [N, outputs].
        told: parts of the contract that the file tells.
        notes: what a user should know.
        rounds: whether running it rounds activations to 8 bits.
    """

    path: Path
    name: str
    kind: str
    graph: Graph
    run: Run
    told: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rounds: bool = False


def is_foreign(model: str) -> bool:
    """Whether this names a file or folder of a kind that is imported."""
    path = Path(model)
    return path.suffix.lower() in (*KINDS, *TORCH, *PICKLES) or (path / "saved_model.pb").is_file()


def read_original(
    path: Path,
    input_size: int | None = None,
    custom: Mapping[str, Any] | None = None,
    arch: str | None = None,
) -> Original:
    """Reads a model of any kind that can be imported.

    Raises:
        ModelFileError: missing, damaged, code, or of no kind that is known.
        UsageError: its side is open, or it is PyTorch's.
        ModelShapeError: not one RGB picture in and one tensor out.
    """
    suffix = path.suffix.lower()
    if suffix in (*TORCH, *PICKLES):
        raise UsageError(instead(path, input_size))
    if path.is_dir():
        return _saved_model(path, input_size)
    if suffix not in KINDS:
        raise ModelFileError(
            f"{path}: expected a model of a kind among {', '.join(KINDS)} or a SavedModel folder."
        )
    if not path.is_file():
        raise ModelFileError(f"model file {path} does not exist.")
    check_signature(path)
    require("tensorflow")
    require("tf2onnx")
    if suffix == ".onnx":
        return _onnx(path, input_size)
    if suffix == ".tflite":
        return _tflite(path, input_size)
    return _keras(path, input_size, custom, arch)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # TensorFlow puts where it happened first, and what happened last.
    return lines[-1 if lines[0].startswith("in user code") else 0].strip()[:200]


def in_parts(run: Run, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """``run`` on so many cells at a time as memory allows."""
    step = max(1, _PIXELS_AT_ONCE // int(np.prod(values.shape[1:3])))
    parts = [run(values[start : start + step]) for start in range(0, len(values), step)]
    return np.concatenate(parts).reshape(len(values), -1).astype(np.float32)


def _traced(call: Callable[[Any], Any], size: int) -> Any:
    """A TensorFlow function of [1, S, S, 3] -> ONNX message."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((1, size, size, 3), tf.float32, name="pixels")]
    traced = tf.function(call, input_signature=signature)
    with graph_copies.freed():
        proto, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)
    _keep_captured(proto.graph, traced.get_concrete_function(*signature))
    return proto


def _keep_captured(graph: Any, concrete: Any) -> None:
    """Constants that a function captured (a Normalization's mean) come out as inputs: put in."""
    import onnx

    captured = {str(inner.name): outer for outer, inner in concrete.graph.captures}
    for value in list(graph.input):
        outer = captured.get(value.name)
        if outer is not None and hasattr(outer, "numpy"):
            graph.initializer.append(onnx.numpy_helper.from_array(outer.numpy(), value.name))
            graph.input.remove(value)


def _keras(
    path: Path, input_size: int | None, custom: Mapping[str, Any] | None, arch: str | None
) -> Original:
    from edge_malaria.export.importers.keras_files import load_keras
    from edge_malaria.export.importers.keras_input import input_side, resizing

    model = load_keras(path, custom, arch)
    ends = len(getattr(model, "inputs", None) or "1"), len(getattr(model, "outputs", None) or "1")
    if ends != (1, 1):
        raise ModelShapeError(
            f"{path}: expected one input and one output, got {ends[0]} and {ends[1]}."
        )
    told = resizing(model)
    size = input_side(model, path, input_size, told)
    with quiet():
        try:
            proto = _traced(lambda pixels: model(pixels, training=False), size)
        except Exception as error:
            raise ModelFileError(f"{path} cannot be traced ({_first_line(error)}).") from error

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model(values, training=False))

    kind = f"Keras {type(model).__name__}"
    resize = {"resize": told["resize"]} if "resize" in told else {}
    graph = read_graph(proto, str(path), size)
    return Original(path, path.stem, kind, graph, lambda v: in_parts(run, v), resize)


def _saved_model(path: Path, input_size: int | None) -> Original:
    if (path / "config.json").is_file() and (path / "model.weights.h5").is_file():
        raise ModelFileError(
            f"{path} is a .keras file that was unpacked. Download it again and leave it packed, or "
            "zip what lies in the folder."
        )
    if not (path / "saved_model.pb").is_file():
        raise ModelFileError(f"{path} is a folder without saved_model.pb: no SavedModel.")
    require("tensorflow")
    with quiet():
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(path))
            call = next(iter(loaded.signatures.values()))
        except Exception as error:
            raise ModelFileError(
                f"{path} cannot be loaded as a SavedModel ({_first_line(error)}). Copy the whole "
                "folder again: saved_model.pb, and variables with the files in it."
            ) from error
        keys, outs = list(call.structured_input_signature[1]), list(call.structured_outputs)
        if len(keys) != 1 or len(outs) != 1:
            raise ModelShapeError(
                f"{path}: expected one input and one output, got {len(keys)} and {len(outs)}."
            )
        [key], [out] = keys, outs
        entry = call.structured_input_signature[1][key]
        shape = entry.shape.as_list()
        if len(shape) != 4:
            raise ModelShapeError(f"{path}: expected input [N, S, S, 3], got {shape}.")
        side = shape[1] or input_size
        if side is None:
            raise UsageError(f"{path} leaves the side of its input open. Say it: --input-size 64")
        agreed_side(path, int(side), input_size)
        try:
            # What takes uint8 takes pixels 0-255; a function of another type is not looked into.
            proto = _traced(lambda x: call(**{key: tf.cast(x, entry.dtype)})[out], int(side))
        except Exception as error:
            raise ModelFileError(f"{path} cannot be traced ({_first_line(error)}).") from error

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(call(**{key: tf.cast(values, entry.dtype)})[out])

    graph = read_graph(proto, str(path), input_size if shape[1] is None else None)
    # The signature keeps ``loaded`` from being collected; ``run`` holds both.
    run.__dict__["keeps"] = loaded
    told = dict.fromkeys(("input_range", ONLY_RANGE), "0-255") if entry.dtype == tf.uint8 else {}
    return Original(path, path.name, "SavedModel", graph, lambda v: in_parts(run, v), told)


def _onnx(path: Path, input_size: int | None) -> Original:
    import onnx

    from edge_malaria.runtime.engines.onnx import float_session

    try:
        proto = onnx.load(str(path))
        graph = read_graph(proto, str(path), input_size)
        session = float_session(proto.SerializeToString())
    except (UsageError, ModelFileError):
        raise
    except Exception as error:  # onnx and protobuf share no public base
        apart = re.search(r"should be stored in (.+?), but", str(error))
        if apart is not None:
            raise ModelFileError(
                f"{path} keeps its weights in a file of its own, which is not there. Copy "
                f"{Path(apart[1]).name} beside it too, or write one file where it was made: "
                "torch.onnx.export(..., external_data=False)"
            ) from error
        raise ModelFileError(
            f"{path} is not an ONNX file or is damaged ({_first_line(error)}). Copy it again."
        ) from error

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        turned = values.transpose(0, 3, 1, 2) if graph.channels_first else values
        parts = [session(np.ascontiguousarray(turned[i : i + 1])) for i in range(len(turned))]
        return np.concatenate([part.reshape(1, -1) for part in parts])

    return Original(path, path.stem, "ONNX", graph, run)


def _refuse_integers(path: Path, interpreter: Any) -> None:
    """A file whose activations are 8-bit numbers, whether its ends are float or not.

    Raises:
        ModelFileError: it is such a file.
    """
    entry = interpreter.get_input_details()[0]
    kind = np.dtype(entry["dtype"]).name
    readers = [op for op in interpreter._get_ops_details() if int(entry["index"]) in op["inputs"]]
    if kind == "float32" and not any(op["op_name"] == "QUANTIZE" for op in readers):
        return
    where = f"{kind} input" if kind != "float32" else "its input is rounded to 8 bits at once"
    raise ModelFileError(
        f"{path} is quantized already ({where}): its weights are rounded for another scale. Give "
        "the float model that it was made from."
    )


def _tflite(path: Path, input_size: int | None) -> Original:
    import tf2onnx

    from edge_malaria.runtime.engines.litert import load_interpreter_module

    with quiet():
        try:
            interpreter = load_interpreter_module().Interpreter(model_path=str(path))
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelFileError(f"{path} is not a TFLite file or is damaged ({error}).") from error
        entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        _refuse_integers(path, interpreter)
        try:
            with graph_copies.freed():
                proto, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
        except Exception as error:  # its converters raise of many kinds
            raise ModelFileError(
                f"{path} holds an operation that cannot be read ({_first_line(error)}). Give the "
                "Keras model or the SavedModel that it was made from."
            ) from error

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        found = []
        for cell in values:
            interpreter.set_tensor(entry["index"], cell[None])
            interpreter.invoke()
            found.append(interpreter.get_tensor(out["index"]).reshape(1, -1).copy())
        return np.concatenate(found)

    graph = read_graph(proto, str(path), input_size)
    rounded = any(node.op == "DequantizeLinear" for node in graph.nodes)
    notes = ("its weights are stored in 8 bits: what it loses by that stays lost",)
    return Original(path, path.stem, "TFLite", graph, run, {}, notes if rounded else (), rounded)
