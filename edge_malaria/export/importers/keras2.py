"""Files that Keras 2 wrote (TensorFlow 2.15 and before), in words that Keras 3 builds.

Most published networks are such files. Keras 3 reads a part of them: nested backbones are called by
another number there, augmentation layers have arguments that are gone, arithmetic between layers
stands as a record of its own, and ``.keras`` and ``.json`` files name classes otherwise. What
matters for inference is kept; how weights were first drawn, regularized and held back is left out.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from edge_malaria.keras_layers import keras

# Never at work in inference.
_IDLE = ("Random", "Gaussian", "SpatialDropout", "AlphaDropout", "ActivityRegularization")
_MODELS = ("Sequential", "Functional", "Model")
_ONLY_FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")
# Arguments that are gone and never changed what a layer gives in inference.
_GONE = {"rng_type", "groups", "fused", "renorm", "virtual_batch_size", "adjustment", "ragged"}
_GONE |= {"sparse", "implementation", "optional", "value_range", "build_input_shape"}
_OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
# Classes that Keras 3 does not have by these names and that are no code of an author's.
KNOWN = (*_OPERATIONS, *_MODELS)


def is_old(config: str, version: str | None) -> bool:
    """Whether Keras 2 wrote this configuration.

    Args:
        config: JSON text.
        version: ``keras_version`` of the file, where it has one.
    """
    if '"keras_history"' in config:
        return False  # Keras 3's way of storing calls, whatever version stands beside it
    if version is not None:
        return not version.startswith("3")
    return '"batch_input_shape"' in config or '"keras_version": "2' in config


def build(config: str, custom: Mapping[str, Any]) -> Any:
    """The network of a configuration, without its weights.

    Args:
        config: JSON text, as Keras 2 wrote it.
        custom: names -> classes, ours among them.
    """
    made = _layer(json.loads(config))
    kind = keras.Sequential if made["class_name"] == "Sequential" else keras.Model
    return kind.from_config(made["config"], custom_objects=dict(custom))


def load_weights(model: Any, path: Path) -> None:
    """Gives a network of ``build`` the weights of the file that its configuration came from."""
    if not zipfile.is_zipfile(path):
        model.load_weights(path)
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        model.load_weights(archive.extract("model.weights.h5", folder))


def _layer(value: Mapping[str, Any]) -> dict[str, Any]:
    """One layer's or model's entry."""
    kind, config = str(value["class_name"]), value.get("config") or {}
    if kind in _MODELS or (isinstance(config, Mapping) and "layers" in config):
        kind = "Sequential" if kind == "Sequential" else "Functional"
        config = _sequential(config) if kind == "Sequential" else _functional(config)
    elif kind.startswith(_IDLE):
        kind, config = "Identity", {"name": config.get("name")}
    elif kind in _OPERATIONS:
        kind, config = "TFOpLambda", _operation(value)
    else:
        config = _arguments(kind, config)
    made = {"class_name": kind, "config": config}
    return made | {k: value[k] for k in ("name", "inbound_nodes") if k in value}


def _sequential(config: Any) -> dict[str, Any]:
    # Before 2.2.3 the layers stood there alone.
    given = {"name": "sequential", "layers": config} if isinstance(config, list) else config
    layers = [_layer(one) for one in given["layers"]]
    first: Mapping[str, Any] = given["layers"][0] if given["layers"] else {}
    shape = (first.get("config") or {}).get("batch_input_shape")
    if first.get("class_name") != "InputLayer" and shape is not None:
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_shape": shape}})
    return {"name": given["name"], "layers": layers}


def _functional(config: Mapping[str, Any]) -> dict[str, Any]:
    layers = [_layer(one) for one in config["layers"]]
    for layer in layers:
        layer["inbound_nodes"] = [_node(node) for node in layer.get("inbound_nodes") or []]
    ends = {key: config[key] for key in ("input_layers", "output_layers")}
    ends = {key: _alone(value) for key, value in json.loads(json.dumps(ends)).items()}
    _renumber(layers, list(ends.values()))
    return {"name": config.get("name"), "layers": layers, **ends}


def _alone(ends: list[Any]) -> list[Any]:
    """``[["input_1", 0, 0]]`` as ``["input_1", 0, 0]``: a list of one stays a list in Keras 3."""
    return list(ends[0]) if len(ends) == 1 else ends


def _node(node: Any) -> list[Any]:
    """A call as a list of its tensors; that of an operation is stored flat."""
    tensors = [node] if node and isinstance(node[0], str) else list(node)
    more = [
        value
        for tensor in tensors
        for value in (tensor[3] if len(tensor) > 3 else {}).values()
        if _is_tensor(value)
    ]
    return [[*tensor[:3], {}] for tensor in (*tensors, *more)]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 3 and isinstance(value[0], str)


def _renumber(layers: list[dict[str, Any]], ends: list[Any]) -> None:
    """Calls of a nested model are counted from 0: in Keras 2 its own making was the first."""
    nodes = [node for layer in layers for node in layer["inbound_nodes"]]
    tensors = [tensor for node in nodes for tensor in node]
    tensors += [end for end in ends if _is_tensor(end)]
    tensors += [tensor for end in ends if not _is_tensor(end) for tensor in end]
    for layer in layers:
        used = [tensor for tensor in tensors if tensor[0] == layer["name"]]
        beyond = max((tensor[1] for tensor in used), default=0) - len(layer["inbound_nodes"]) + 1
        if beyond > 0 and layer["class_name"] in _MODELS:
            for tensor in used:
                tensor[1] = max(0, tensor[1] - beyond)


def _arguments(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's arguments without those that only training needs, in float32."""
    made = {
        key: value
        for key, value in config.items()
        if not key.endswith(_ONLY_FOR_TRAINING) and key != "batch_input_shape"
    }
    if kind == "InputLayer":
        return {"batch_shape": config.get("batch_input_shape"), "name": config.get("name")}
    for key, value in made.items():
        if isinstance(value, Mapping) and "class_name" in value and key == "layer":
            made[key] = _layer(value)  # of Bidirectional, TimeDistributed
    made["dtype"] = "float32"
    known = getattr(keras.layers, kind, None)
    if known is None:
        return made
    names = set(signature(known.__init__).parameters)
    if kind == "BatchNormalization" and isinstance(made.get("axis"), list):
        [made["axis"]] = made["axis"]
    return {key: value for key, value in made.items() if key in names or key not in _GONE}


def _operation(value: Mapping[str, Any]) -> dict[str, Any]:
    """Arithmetic between layers: its name, and what it takes beside tensors."""
    config = value["config"]
    calls: list[Any] = value.get("inbound_nodes") or [[]]
    flat = bool(calls[0]) and isinstance(calls[0][0], str)
    tensors: list[Any] = calls[:1] if flat else list(calls[0])
    given: dict[str, Any] = {}
    for tensor in tensors:
        given |= {k: v for k, v in (tensor[3] if len(tensor) > 3 else {}).items() if k != "name"}
    plain = {k: v for k, v in given.items() if not _is_tensor(v)}
    return {
        "name": str(config["name"]).replace("/", "_"),
        "function": config["function"],
        "given": plain,
        "before": [k for k in given if _is_tensor(given[k])],
    }


class TFOpLambda(keras.layers.Layer):  # type: ignore[misc]
    """Keras 2's record of arithmetic between layers, for what prepares pixels or joins branches."""

    def __init__(
        self, function: str, given: Mapping[str, Any], before: list[str], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.function, self.given, self.before = function, dict(given), list(before)

    def call(self, inputs: Any) -> Any:
        """The arithmetic."""
        ops, tensors = keras.ops, inputs if isinstance(inputs, list) else [inputs]
        first, rest = tensors[0], dict(zip(self.before, tensors[1:], strict=False))
        word = self.function.rsplit(".", 1)[-1]
        if word in _ARITHMETIC:
            other = rest.get("y", tensors[1] if len(tensors) > 1 else self.given.get("y"))
            if other is None:
                other = self.given.get("bias")
            return getattr(ops, _ARITHMETIC[word])(first, other)
        if word == "bias_add":
            return first + ops.convert_to_tensor(self.given["bias"], first.dtype)
        if word in ("relu", "relu6", "sigmoid", "softmax", "tanh"):
            return getattr(ops, word)(first)
        if word in ("reduce_mean", "reduce_max"):
            how = ops.mean if word == "reduce_mean" else ops.max
            return how(first, self.given.get("axis"), bool(self.given.get("keepdims")))
        if word == "concat":
            return ops.concatenate(tensors, axis=int(self.given.get("axis", -1)))
        if word == "cast":
            return ops.cast(first, "float32")
        if word in ("getitem", "_slice_helper"):
            return first[_slices(self.given["slice_spec"])]
        raise ValueError(f"the operation {self.function} of a Keras 2 file is not known here")


_ARITHMETIC = {
    "truediv": "true_divide",
    "divide": "true_divide",
    "subtract": "subtract",
    "sub": "subtract",
    "multiply": "multiply",
    "mul": "multiply",
    "add": "add",
}


def _slices(spec: Any) -> tuple[Any, ...]:
    """``[..., ::-1]`` as Keras 2 stores it."""
    parts = spec if isinstance(spec, list) else [spec]
    found: list[Any] = []
    for part in parts:
        if isinstance(part, Mapping) and part.get("class_name") == "__ellipsis__":
            found.append(Ellipsis)
        elif isinstance(part, Mapping):
            found.append(slice(*(part[word] for word in ("start", "stop", "step"))))
        else:
            found.append(part)
    return tuple(found)
