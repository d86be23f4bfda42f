"""bundle.json itself: strict reading, its own hash, and what every value that decides must be.

``files`` in bundle.json holds the hash of every other file; ``index_sha256`` is the hash of
bundle.json's own content, so that a changed threshold is noticed like a changed weight. It is
taken over the canonical form (keys sorted, no spaces, ASCII), so that it does not depend on how
the file is laid out. It finds damage and careless editing; against somebody who writes a new hash
there are the model files, which hold the decision too (``parity``), and the signature.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

SEAL = "index_sha256"
# The shipped index is 60 kB; what is larger than this is none.
MAX_INDEX_BYTES = 8 << 20
# bundle.json nests eight deep.
MAX_DEPTH = 24
# Above any number in a bundle, and exact as a float.
MAX_NUMBER = 2.0**53
MAX_SIDE_PX = 1024
MIN_SIDE_PX = 8
TASKS = {"classifier": "classify-cell", "finder": "find-cells"}
DTYPES = ("float32", "int8", "uint8")


def canonical_sha256(record: Mapping[str, Any]) -> str:
    """Hex SHA-256 of an index without its ``index_sha256``.

    Raises:
        ValueError: NaN or infinite numbers, which JSON does not know.
    """
    rest = {key: value for key, value in record.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_index(data: bytes) -> Any:
    """bundle.json's bytes -> its JSON value.

    Raises:
        ValueError: no JSON, NaN, a key that stands twice, too large or nested too deep.
    """
    if len(data) > MAX_INDEX_BYTES:
        raise ValueError(f"expected at most {MAX_INDEX_BYTES} bytes, got {len(data)}")
    try:
        value = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError(f"expected at most {MAX_DEPTH} levels of nesting") from error
    _check_tree(value, "bundle.json", 0)
    return value


def _no_constant(word: str) -> Any:
    raise ValueError(f"expected finite numbers, got {word}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:40]!r} stands twice")
    return found


def _check_tree(value: Any, where: str, depth: int) -> None:
    """No number that is not finite or too large, no more than ``MAX_DEPTH`` levels."""
    need(depth <= MAX_DEPTH, where, f"at most {MAX_DEPTH} levels of nesting", "more")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_tree(inner, f"{where}.{key[:40]}", depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_tree(inner, where, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        need(abs(value) <= MAX_NUMBER, where, "a number of ordinary size", value)


def need(ok: bool, where: str, expected: str, got: object) -> None:
    """Raises ValueError("<where>: expected ..., got ...") unless ``ok``."""
    if not ok:
        text = f"{got:.6g}" if isinstance(got, float) else str(got) if _huge(got) else repr(got)
        shown = text if len(text) <= 60 else text[:60] + "…"
        raise ValueError(f"{where}: expected {expected}, got {shown}")


def _huge(value: object) -> bool:
    return isinstance(value, int) and abs(value) > MAX_NUMBER


def is_number(value: object) -> TypeGuard[float]:
    """A finite int or float, no bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_NUMBER and math.isfinite(value)


def is_whole(value: object, low: int, high: int) -> TypeGuard[int]:
    """An int from ``low`` to ``high``, no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def as_object(value: object, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: something else.
    """
    need(isinstance(value, dict), where, "an object", value)
    return value  # type: ignore[return-value]


def check_seal(record: Mapping[str, Any]) -> None:
    """``index_sha256`` is there and is that of the record.

    Raises:
        ValueError: it is missing or another one.
    """
    stored = record.get(SEAL)
    if stored is None:
        raise ValueError(
            f"it has no {SEAL}: it was edited, or exported by edge-malaria before it sealed its "
            "index. Export it again"
        )
    got = canonical_sha256(record)
    if stored != got:
        raise ValueError(
            f"it was edited: expected {SEAL} {str(stored)[:12]}…, got {got[:12]}…. "
            "Copy or export the bundle again"
        )


def check_model(name: str, value: object) -> None:
    """Types and ranges of everything in ``models.<name>`` that decides.

    Raises:
        ValueError: which key, what was expected and what stands there.
    """
    where = f"models.{name[:40]}"
    model = as_object(value, where)
    task = model.get("task")
    need(isinstance(task, str), f"{where}.task", "a task", task)
    wanted = TASKS.get(name, task)
    need(task == wanted, f"{where}.task", repr(wanted), task)
    _check_labels(f"{where}.labels", model.get("labels"), 2 if name == "classifier" else None)
    _check_preparation(f"{where}.preprocessing", model, name == "classifier")
    variants = as_object(model.get("variants"), f"{where}.variants")
    for variant, entries in variants.items():
        place = f"{where}.variants.{variant[:20]}"
        need(isinstance(entries, list) and bool(entries), place, "a list of files", entries)
        engines = [_check_file(place, entry) for entry in entries]
        need(len(set(engines)) == len(engines), place, "one file an engine", engines)
    if name == "classifier":
        need(bool(variants), f"{where}.variants", "at least one variant", variants)
    _check_decision(f"{where}.decision", model.get("decision", {}))


def _check_labels(where: str, value: object, count: int | None) -> None:
    named = isinstance(value, list) and 0 < len(value) <= 16
    labels: list[Any] = value if isinstance(value, list) else []
    need(named and all(isinstance(x, str) for x in labels), where, "names", value)
    need(len(set(labels)) == len(labels), where, "different names", labels)
    need(count is None or len(labels) == count, where, f"{count} names", labels)


def check_gate(name: str, value: Mapping[str, Any]) -> None:
    """The model's parity gate passed when it was exported.

    Raises:
        ValueError: it did not, or never ran.
    """
    gate = value.get("gate")
    passed = gate.get("passed") if isinstance(gate, dict) else None
    need(passed is True, f"models.{name}.gate.passed", "true: its parity gate passed", passed)


def _check_preparation(where: str, model: Mapping[str, Any], classifier: bool) -> None:
    preparation = as_object(model.get("preprocessing"), where)
    size, least = preparation.get("size_px", 0), MIN_SIDE_PX if classifier else 0
    span = f"a whole number from {least} to {MAX_SIDE_PX}"
    need(is_whole(size, least, MAX_SIDE_PX), f"{where}.size_px", span, size)
    steps = preparation.get("steps")
    named = isinstance(steps, list) and all(isinstance(step, str) for step in steps)
    need(named, f"{where}.steps", "a list of steps", steps)


def _check_file(where: str, value: object) -> str:
    entry = as_object(value, where)
    for key in ("engine", "file", "sha256", "quantization"):
        got = entry.get(key)
        need(isinstance(got, str) and 0 < len(got) <= 200, f"{where}.{key}", "a word", got)
    size = entry.get("bytes")
    need(is_whole(size, 1, 1 << 31), f"{where}.bytes", "a file's size", size)
    for end in ("input", "output"):
        _check_tensor(f"{where}.{end}", entry.get(end))
    return str(entry["engine"])


def _check_tensor(where: str, value: object) -> None:
    tensor = as_object(value, where)
    shape, dtype = tensor.get("shape"), tensor.get("dtype")
    sides = isinstance(shape, list) and 0 < len(shape) <= 4
    sides = sides and all(is_whole(side, -1, 1 << 16) for side in shape)  # type: ignore[union-attr]
    need(sides, f"{where}.shape", "one to four sides", shape)
    need(isinstance(dtype, str) and dtype in DTYPES, f"{where}.dtype", f"one of {DTYPES}", dtype)
    name, scale = tensor.get("name"), tensor.get("scale")
    need(isinstance(name, str), f"{where}.name", "a name", name)
    need(is_number(scale) and scale >= 0, f"{where}.scale", "a number >= 0", scale)
    point = tensor.get("zero_point")
    need(is_whole(point, -(1 << 31), 1 << 31), f"{where}.zero_point", "a whole number", point)


def _check_decision(where: str, value: object) -> None:
    decision = as_object(value, where)
    temperature, bias = decision.get("temperature", 1.0), decision.get("bias", 0.0)
    fits = is_number(temperature) and 1e-3 <= temperature <= 1e3
    need(fits, f"{where}.temperature", "a temperature above 0 (0.001-1000)", temperature)
    need(is_number(bias) and abs(bias) <= 1e3, f"{where}.bias", "a number within 1000 of 0", bias)
    points = as_object(decision.get("operating_points", {}), f"{where}.operating_points")
    for name, point in points.items():
        place = f"{where}.operating_points.{name[:20]}"
        threshold = as_object(point, place).get("threshold")
        fits = is_number(threshold) and 0.0 < threshold < 1.0
        need(fits, f"{place}.threshold", "a threshold in (0, 1)", threshold)
    views = decision.get("flagged_views", 1)
    need(is_whole(views, 1, 8) and views in (1, 8), f"{where}.flagged_views", "1 or 8", views)
    asked = views == 1 or "balanced" in points
    need(asked, f"{where}.operating_points", "balanced, from which cells are asked again", points)
    if decision.get("second") is not None:
        asked_from = as_object(decision["second"], f"{where}.second").get("from")
        fits = is_number(asked_from) and 0.0 < asked_from < 1.0
        need(fits, f"{where}.second.from", "a probability in (0, 1)", asked_from)
    _check_abstention(f"{where}.abstention", decision.get("abstention") or {})
    for key in ("false_positives", "false_positive"):
        _check_rates(f"{where}.{key}", decision.get(key) or {})


def _check_abstention(where: str, value: object) -> None:
    abstention = as_object(value, where)
    zone = abstention.get("p_between")
    if zone is not None:
        _check_range(f"{where}.p_between", zone)
    measures = as_object(abstention.get("not_a_red_cell") or {}, f"{where}.not_a_red_cell")
    if measures:
        limits = as_object(measures.get("limits"), f"{where}.not_a_red_cell.limits")
        for name, span in limits.items():
            _check_range(f"{where}.not_a_red_cell.limits.{name[:20]}", span)


def _check_range(where: str, value: object) -> None:
    pair = isinstance(value, list) and len(value) == 2 and all(is_number(x) for x in value)
    need(pair and value[0] <= value[1], where, "[low, high]", value)  # type: ignore[index]


def _check_rates(where: str, value: object) -> None:
    """A beta-binomial's numbers, and those of the fits inside it."""
    rates = as_object(value, where)
    for key, got in rates.items():
        place = f"{where}.{key[:40]}"
        if isinstance(got, dict):
            _check_rates(place, got)
        elif key in ("alpha", "beta"):
            need(is_number(got) and 0 < got <= 1e9, place, "a number above 0", got)
        elif key == "mean":
            need(is_number(got) and 0 <= got <= 1, place, "a rate, 0-1", got)
        elif key == "threshold":
            need(is_number(got) and 0 < got < 1, place, "a threshold in (0, 1)", got)
        elif key == "counts":
            need(isinstance(got, list) and all(map(_is_count, got)), place, "[k, n] pairs", got)


def _is_count(value: object) -> bool:
    pair = isinstance(value, list) and len(value) == 2
    return pair and is_whole(value[1], 0, 10**9) and is_whole(value[0], 0, value[1])  # type: ignore[index]
