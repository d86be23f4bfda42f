"""Keras files of all ages: .keras and .h5, architecture and weights apart, Keras 2 and 3."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from converters.quiet import quiet
from edge_malaria.errors import ModelFileError, UsageError
from edge_malaria.export.importers import keras2, keras_calls
from edge_malaria.keras_layers import keras

# What to build in place of code that a file may not bring along.
_INSTEAD = (
    "Use keras.layers.Rescaling for scaling, Normalization for mean and deviation, Resizing for "
    "sizes; export the network as SavedModel or ONNX where it was trained; or, if you trust the "
    "file, load its code with --custom-objects MODULE"
)


def load_keras(path: Path, custom: Mapping[str, Any] | None, arch: str | None) -> Any:
    """A Keras model, without its optimizer; in safe mode unless ``custom`` is given.

    Args:
        path: .keras, .h5, or the .json of an architecture.
        custom: names -> classes and functions (``custom_objects``).
        arch: a network of this project, for a file of weights alone.

    Raises:
        ModelFileError: damaged, or code that was not asked for.
        UsageError: weights without an architecture.
    """
    config = _config(path)
    if config is None:
        return _from_parts(path, custom, arch)
    _refuse_code(path, config, custom)
    with quiet():
        try:
            if keras2.is_old(config, _version(path)):
                model = keras2.build(config, _objects(custom))
                keras2.load_weights(model, path)
                return model
            if not zipfile.is_zipfile(path) and keras_calls.stands_in(config):
                model = keras_calls.build(config, _objects(custom))
                keras2.load_weights(model, path)
                return model
            how = {"compile": False, "safe_mode": custom is None}
            with _named_as_it_is(path) as named:
                model = keras.models.load_model(named, custom_objects=_objects(custom), **how)
            return in_float32(model, _objects(custom))
        # Keras raises many kinds for a damaged or unknown file; its first line says which.
        except Exception as error:
            raise ModelFileError(f"{path} cannot be loaded ({_first_line(error)}).") from error


@contextmanager
def _named_as_it_is(path: Path) -> Iterator[Path]:
    """The file under a name that Keras reads it by: older ones wrote HDF5 into .keras files."""
    suffix = ".keras" if zipfile.is_zipfile(path) else ".h5"
    if path.suffix in (suffix, ".hdf5"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copy(path, Path(folder) / f"model{suffix}"))


def in_float32(model: Any, custom: Mapping[str, Any]) -> Any:
    """The model computing in float32, where it was trained in half precision to save time.

    Its weights are float32; half-precision sums would be rounded again by everything here.
    """
    layers = getattr(model, "layers", [])
    if not any("float16" in str(getattr(layer, "compute_dtype", "")) for layer in layers):
        return model
    made = type(model).from_config(_whole(model.get_config()), custom_objects=dict(custom))
    made.set_weights([np.asarray(weight, np.float32) for weight in model.get_weights()])
    return made


def _whole(value: Any) -> Any:
    """A configuration whose dtype policies are float32."""
    if isinstance(value, (list, tuple)):
        return type(value)(_whole(part) for part in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    made = {key: _whole(part) for key, part in value.items()}
    return {**made, "dtype": "float32"} if "float16" in str(made.get("dtype", "")) else made


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _config(path: Path) -> str | None:
    """The architecture inside a file; None where it holds weights alone or is a .json."""
    if not path.is_file():
        raise ModelFileError(f"model file {path} does not exist.")
    if path.suffix == ".json":
        return None
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None or "config.json" not in archive.namelist():
                raise ModelFileError(f"{path} is damaged or not a .keras file. Copy it again.")
            return archive.read("config.json").decode("utf-8")
    import h5py

    try:
        with h5py.File(path, "r") as stored:
            config = stored.attrs.get("model_config")
    except OSError as error:
        raise ModelFileError(f"{path} is not a Keras file or is damaged. Copy it again.") from error
    return config.decode("utf-8") if isinstance(config, bytes) else config


def _version(path: Path) -> str | None:
    """The Keras that wrote a file, where it says so."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            named = "metadata.json" in archive.namelist()
            facts = json.loads(archive.read("metadata.json")) if named else {}
            return str(facts["keras_version"]) if "keras_version" in facts else None
    import h5py

    with h5py.File(path, "r") as stored:
        found = stored.attrs.get("keras_version")
    return found.decode() if isinstance(found, bytes) else found


def _from_parts(path: Path, custom: Mapping[str, Any] | None, arch: str | None) -> Any:
    """An architecture (.json beside, or ``arch``) and the weights (.h5)."""
    stem = path.with_name(path.name.removesuffix(".json").removesuffix(".h5"))
    stem = stem.with_name(stem.name.removesuffix(".weights"))
    described = stem.with_suffix(".json")
    candidates = [path, stem.with_name(f"{stem.name}.weights.h5"), stem.with_suffix(".h5")]
    weights = next((p for p in candidates if p.suffix == ".h5" and p.is_file()), None)
    if weights is None:
        if '"class_name"' not in path.read_text(encoding="utf-8", errors="replace"):
            raise ModelFileError(f"{path} is no architecture of Keras (model.to_json()).")
        raise UsageError(f"{path} is an architecture: put its weights beside it as {stem.name}.h5.")
    if arch is not None:
        from edge_malaria.training.architectures.registry import build

        model = build(arch)
    elif described.is_file():
        text = described.read_text(encoding="utf-8", errors="replace")
        _refuse_code(described, text, custom)
        with quiet():
            try:
                if keras2.is_old(text, None):
                    model = keras2.build(text, _objects(custom))
                else:
                    model = keras.models.model_from_json(text, custom_objects=_objects(custom))
            except Exception as error:
                reason = _first_line(error)
                raise ModelFileError(f"{described} cannot be built ({reason}).") from error
    else:
        raise UsageError(
            f"{path} holds weights alone: put the architecture beside it as {described.name} "
            "(model.to_json()), or name one of this project's with --arch."
        )
    with quiet():
        try:
            model.load_weights(weights)
        except Exception as error:
            raise ModelFileError(f"{weights} does not fit ({_first_line(error)}).") from error
    return model


def _classes(value: Any) -> Iterator[tuple[str, str, str]]:
    """(class, registered name, layer's name) of everything in a configuration."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str) and "config" in value:
            inner = value["config"] if isinstance(value["config"], dict) else {}
            yield (
                value["class_name"],
                str(value.get("registered_name") or ""),
                str(inner.get("name", "")),
            )
        for part in value.values():
            yield from _classes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _classes(part)


def _refuse_code(path: Path, config: str, custom: Mapping[str, Any] | None) -> None:
    try:
        value = json.loads(config)
        if isinstance(value, dict):
            # Metrics, losses and optimizers of the author's own: they are not loaded.
            value.pop("compile_config", None)
        found = list(_classes(value))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged ({error}).") from error
    if custom is not None:
        return
    for kind, registered, name in found:
        if kind == "Lambda":
            raise ModelFileError(
                f"{path} holds a Lambda layer ({name}), which is code: refused. {_INSTEAD}."
            )
        known = (
            hasattr(keras.layers, kind)
            or hasattr(keras, kind)
            or kind in (*_LEGACY, "SlicingOpLambda", "Functional", "Model")
        )
        ours = keras.saving.get_registered_object(registered) if registered else None
        if not known and ours is None and ">" in registered:
            raise ModelFileError(
                f"{path} needs {kind} ({name}), which is code of its author's: refused. {_INSTEAD}."
            )


def custom_objects(module: str) -> dict[str, Any]:
    """The classes and functions of a module, by name and by Keras's registered name.

    Args:
        module: a .py file or an importable name; its code is run.

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        path = Path(module)
        if path.suffix == ".py":
            spec = importlib.util.spec_from_file_location(path.stem, path)
            if spec is None or spec.loader is None or not path.is_file():
                raise ImportError(f"no file {path}")
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
    except Exception as error:
        raise UsageError(f"--custom-objects {module}: {_first_line(error)}.") from error
    return {
        name: value
        for name, value in vars(loaded).items()
        if callable(value) and not name.startswith("_")
    }


def _objects(custom: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**_LEGACY, **(custom or {})}


_LEGACY: dict[str, Any] = {"TFOpLambda": keras2.TFOpLambda}
