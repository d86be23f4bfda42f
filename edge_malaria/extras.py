"""Which packages an extra of this package needs, and the command that installs them.

The command names the packages themselves: it works wherever edge-malaria came from, a wheel, a
checkout or an index. Requirements are read from the installed package's own metadata.
"""

from __future__ import annotations

import ast
import os
import platform
import re
import shlex
import sys
from importlib import metadata

PACKAGE = "edge-malaria"
# Where the package runs from a bare source tree, without metadata.
_KNOWN = {"litert": ("ai-edge-litert",), "onnx": ("onnxruntime",), "base": ("numpy",)}


def pip_command(extra: str) -> str:
    """The shell command that installs what ``extra`` needs on this machine."""
    names = requirements(extra) or _KNOWN.get(extra, (f"{PACKAGE}[{extra}]",))
    return "pip install " + " ".join(shlex.quote(name) for name in names)


def requirements(extra: str | None = None) -> tuple[str, ...]:
    """The requirements of an extra (None: of the package itself) that hold on this machine.

    Empty where the package has no metadata.
    """
    try:
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return ()
    found: dict[str, None] = {}
    for line in lines:
        text, _, marker = (part.strip() for part in line.partition(";"))
        if ("extra" in marker) != (extra is not None) or not _holds(marker, extra or ""):
            continue
        inner = re.fullmatch(rf"{PACKAGE}\[([a-z0-9,-]+)\]", text)
        if inner:
            for name in inner.group(1).split(","):
                found |= dict.fromkeys(requirements(name))
        else:
            found[text] = None
    return tuple(found)


def _holds(marker: str, extra: str) -> bool:
    """Whether an environment marker (PEP 508) of this package's own metadata holds here."""
    if not marker:
        return True
    names = {
        "extra": extra,
        "sys_platform": sys.platform,
        "platform_machine": platform.machine(),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "os_name": os.name,
    }
    return _value(ast.parse(marker, mode="eval").body, names)


def _value(node: ast.expr, names: dict[str, str]) -> bool:
    if isinstance(node, ast.BoolOp):
        values = [_value(inner, names) for inner in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if not isinstance(node, ast.Compare):
        raise ValueError(f"expected a comparison in a marker, got {ast.unparse(node)}")
    left, right = (_word(side, names) for side in (node.left, node.comparators[0]))
    versions = isinstance(node.left, ast.Name) and node.left.id == "python_version"
    a, b = (version(left), version(right)) if versions else (left, right)
    operator = type(node.ops[0])
    if operator is ast.Eq:
        return a == b
    if operator is ast.NotEq:
        return a != b
    return bool(a < b if operator is ast.Lt else a >= b)  # type: ignore[operator]


def _word(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError(f"expected a name or a word in a marker, got {ast.unparse(node)}")


def version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: (1, 24, 2) of ``1.24.2rc1``."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found.group(0).split(".")) if found else ()


def too_old() -> list[tuple[str, str, str]]:
    """(package, installed, lowest) of every installed package below its lower bound."""
    wanted = [*requirements(), *(r for e in ("litert", "onnx", "export", "train", "push")
                                 for r in requirements(e))]  # fmt: skip
    found = []
    for line in dict.fromkeys(wanted):
        parsed = re.match(r"([A-Za-z0-9_.-]+).*?>=\s*([\d.]+)", line)
        if parsed is None:
            continue
        name, lowest = parsed.groups()
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if version(installed) < version(lowest):
            found.append((name, installed, lowest))
    return found
