"""Loads what an export starts from: a model of this project, or one of somebody else.

``<name>.json`` beside this project's ``<name>.keras`` holds ``decision`` (temperature, bias,
operating points, abstention, false positives), ``provenance`` and, where the network was trained
behind the slide's colour scaling, ``preprocessing`` (``steps`` and ``stain``); training writes it.
A file that comes alone gets the plain decision: probability 0.5. A model of somebody else goes
through ``importers``, which completes its contract and rebuilds it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_malaria.bundle.shipped import SHIPPED_MODELS
from edge_malaria.data.dataset import Dataset
from edge_malaria.errors import ModelFileError, ModelShapeError, UsageError
from edge_malaria.export.importers.contract import Declared
from edge_malaria.export.importers.importing import Imported, Loading
from edge_malaria.export.importers.original import KINDS, is_foreign
from edge_malaria.export.source import PLAIN_DECISION, Source
from edge_malaria.files import sha256_of
from edge_malaria.prepare.stain import StainScaling

# What stands beside the models that ship and is none.
_BESIDE = ("finder", "second")
SECOND_FILE = "second.keras"
# Val cells that prove the order of the classes.
_PROOF_CELLS = 400


def resolve_model(model: str) -> Path:
    """The .keras file of a shipped model's name, or the path itself, of whatever kind.

    Raises:
        ModelFileError: neither exists.
    """
    path = Path(model)
    if is_foreign(model):
        if path.suffix == ".keras" and not path.exists():
            raise ModelFileError(f"model file {path} does not exist.")
        return path
    shipped = SHIPPED_MODELS / f"{model}.keras"
    if not shipped.is_file():
        if path.exists():
            raise ModelFileError(f"{path} {_no_model(path)}")
        names = ", ".join(
            sorted(p.stem for p in SHIPPED_MODELS.glob("*.keras") if p.stem not in _BESIDE)
        )
        raise ModelFileError(
            f"no model {model!r}: expected a file (.keras, .h5, .onnx, .tflite), a SavedModel "
            f"folder, or one of: {names}."
        )
    return shipped


def _no_model(path: Path) -> str:
    """What is said of a file or folder of another kind."""
    read = f"{', '.join(KINDS)} or a SavedModel folder"
    if path.is_dir():
        return f"is a folder without saved_model.pb: expected {read}."
    if path.name == "saved_model.pb" or path.suffix == ".pb":
        return "is a graph of TensorFlow: give the SavedModel folder that holds saved_model.pb."
    return (
        f"is of no kind that is read: expected {read}. Write it as one of them where it was made."
    )


def is_own(path: Path) -> bool:
    """Whether a model is this project's: pixels in, one logit of parasitized out, by its making.

    Its file carries this project's layers, or the name and the ends of one of its networks, or
    the JSON that training writes beside it. The name alone tells nothing: ``keras.applications``
    calls its networks resnet50, vgg16 and so on too.
    """
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        return path.suffix == ".keras" and not path.is_file()
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None or "config.json" not in archive.namelist():
            return True  # its own loader says how it is damaged
        text = archive.read("config.json").decode("utf-8", "replace")
    if '"edge_malaria>' in text or "decision" in _beside(path):
        return True
    from edge_malaria.training.architectures.registry import architectures

    try:
        config = json.loads(text)
        inner = config.get("config", {})
        layers = {(str(one["class_name"]), str(one["config"]["name"])) for one in inner["layers"]}
    except KeyError:
        return False
    except (ValueError, AttributeError, TypeError, RecursionError):
        return True  # the same
    named = str(inner.get("name", "")) in {a.name for a in architectures()}
    ours = {("Rescaling", "scale"), ("Dense", "logit")} <= layers
    return config.get("class_name") == "Functional" and named and ours


def load_source(
    model: str,
    declared: Declared | None = None,
    loading: Loading | None = None,
    dataset: Dataset | None = None,
) -> Source:
    """Loads a model and what stands beside it.

    Args:
        model: a file, a folder, or a shipped model's name.
        declared: the contract of a model of somebody else, as far as it is known.
        loading: how such a model's file is read.
        dataset: labelled cells, which can prove the order of its classes.

    Raises:
        ModelFileError: missing, corrupt or unsafe.
        ModelShapeError: not S x S x 3 pixels to one logit.
        UsageError: a contract that is incomplete, or one for a model of this project.
        MissingExtra: TensorFlow is not installed.
    """
    from converters.quiet import quiet, require

    path = resolve_model(model)
    if path.suffix != ".keras" or path.is_dir() or not is_own(path):
        return _foreign(path, declared or Declared(), loading or Loading(), dataset)
    said = set((declared or Declared()).said) - {"classes"}
    if said:
        raise UsageError(
            f"{model} is this project's own: it takes RGB pixels 0-255 and gives one logit. Leave "
            f"out --{min(said).replace('_', '-')}."
        )
    require("tensorflow")
    with quiet():
        from edge_malaria.keras_layers import has_ranges, load_model, strip_fake_quant

        stored = load_model(path)
        size = _input_size(stored, path)
        ranges = has_ranges(stored)
        plain = strip_fake_quant(stored)
    beside = _beside(path)
    finder = path.with_name("finder.keras")
    provenance = {**beside.get("provenance", {}), "keras_sha256": sha256_of(path)}
    return Source(
        name=path.stem,
        quantized=stored if ranges else plain,
        plain=plain,
        size_px=size,
        weights=int(plain.count_params()),
        has_ranges=ranges,
        decision={**PLAIN_DECISION, **beside.get("decision", {})},
        provenance=provenance,
        measured=beside.get("measured", {}),
        finder=finder if finder.is_file() and path.parent == SHIPPED_MODELS else None,
        stain=StainScaling.from_contract(beside.get("preprocessing", {})),
        second=_second(path, beside),
    )


def _second(path: Path, beside: dict[str, Any]) -> Source | None:
    """The second network of a model whose JSON asks one."""
    if not beside.get("decision", {}).get("second"):
        return None
    file = path.with_name(SECOND_FILE)
    if not file.is_file():
        raise ModelFileError(
            f"{path.with_suffix('.json')} asks a second network about flagged cells, and there is "
            f"no {file.name} beside it. Copy both, with the .json of each."
        )
    return load_source(str(file))


def _foreign(path: Path, declared: Declared, loading: Loading, dataset: Dataset | None) -> Source:
    from edge_malaria.export.importers import import_model

    imported = import_model(path, declared, loading, labels=dataset is not None)
    if dataset is not None and imported.contract.origins["classes"] == "to be proven":
        imported = _with_proven_classes(imported, dataset)
    return _source_of(imported)


def _with_proven_classes(imported: Imported, dataset: Dataset) -> Imported:
    from edge_malaria.export.importers import proof
    from edge_malaria.export.importers.importing import build, logits_of, sigmoid

    contract = imported.contract
    inputs, truth = proof.labelled(dataset, contract.preparation, _PROOF_CELLS)
    chances = sigmoid(logits_of(imported.model, inputs))
    positive = proof.prove_classes(chances, truth, str(imported.original.path))
    origins = {**contract.origins, "classes": "proven from labels"}
    classes = contract.classes if positive == contract.positive else contract.classes[::-1]
    proven = replace(contract, classes=classes, origins=origins)
    if positive != contract.positive:
        return build(imported.original, proven)
    return replace(imported, contract=proven)


def _source_of(imported: Imported) -> Source:
    original, contract = imported.original, imported.contract
    provenance: dict[str, Any] = {"model_kind": original.kind, "contract": contract.as_json()}
    if original.path.is_file():
        provenance["model_sha256"] = sha256_of(original.path)
    return Source(
        name=original.name,
        quantized=imported.model,
        plain=imported.model,
        size_px=contract.size_px,
        weights=int(imported.model.count_params()),
        has_ranges=False,
        decision=dict(PLAIN_DECISION),
        provenance=provenance,
        measured={},
        finder=None,
        contract=contract,
        notes=original.notes,
    )


def _beside(path: Path) -> dict[str, Any]:
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        value = json.loads(sidecar.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelFileError(f"{sidecar} is damaged ({error}).") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{sidecar}: expected a JSON object.")
    return value


def _input_size(model: Any, path: Path) -> int:
    inputs, outputs = model.inputs, model.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelShapeError(
            f"{path}: expected one input and one output, got {len(inputs)} and {len(outputs)}."
        )
    shape = tuple(inputs[0].shape[1:])
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3 or shape[0] is None:
        raise ModelShapeError(f"{path}: expected input [N, S, S, 3], got {tuple(inputs[0].shape)}.")
    out = tuple(outputs[0].shape[1:])
    if out != (1,):
        raise ModelShapeError(
            f"{path}: expected output [N, 1] (one logit), got {tuple(outputs[0].shape)}."
        )
    return int(shape[0])
