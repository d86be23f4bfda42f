"""Figures of the tree: files a folder, longest modules, circles of imports, modules in no layer.

    python -m tools.tree_figures [--most 10]

Exits with 1 where imports go round in a circle or a module stands in no layer or in two.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edge_malaria", "converters")
# Data that ships: they hold no code.
DATA = ("edge_malaria.models", "edge_malaria.schemas")


def import_graph() -> grimp.ImportGraph:
    """Every import, those for type checkers alone included."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)


def layers() -> list[str]:
    """The modules that the contract "Imports point one way" names, in its order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in contracts if one["type"] == "layers"]
    return [name.strip() for line in contract["layers"] for name in line.split("|")]


def out_of_layers(graph: grimp.ImportGraph) -> list[str]:
    """What is wrong with each module that does not stand in exactly one layer."""
    named, wrong = layers(), []
    for module in sorted(graph.modules):
        homes = [name for name in named if module == name or module.startswith(f"{name}.")]
        if len(homes) == 1 or module in DATA:
            continue
        # A package whose modules stand in several layers may only gather names of its own.
        if homes:
            wrong.append(f"{module} stands in {' and '.join(homes)}")
        elif not any(name.startswith(f"{module}.") for name in named):
            wrong.append(f"{module} stands in no layer of pyproject.toml")
        foreign = {
            name
            for name in graph.find_modules_directly_imported_by(module)
            if not name.startswith(f"{module}.")
        }
        if foreign:
            wrong.append(f"{module} imports {', '.join(sorted(foreign))} and stands in no layer")
    return wrong


def import_circles(graph: grimp.ImportGraph) -> list[str]:
    """One line for each import that leads back to where it stands."""
    found = []
    for module in sorted(graph.modules):
        for name in sorted(graph.find_modules_directly_imported_by(module)):
            back = graph.find_shortest_chain(name, module)
            if back is not None:
                found.append(f"{module} -> {' -> '.join(back)}")
    return found


def python_files() -> list[Path]:
    """Every Python file that git tracks, from the project's root."""
    listed = subprocess.check_output(["git", "ls-files", "*.py"], cwd=ROOT, text=True)
    return [Path(name) for name in listed.splitlines() if (ROOT / name).is_file()]


def main() -> int:
    """Prints the figures; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=int, default=10, help="rows of each list")
    most = parser.parse_args().most
    files = python_files()
    modules = [path for path in files if path.name != "__init__.py"]
    folders = Counter(str(path.parent) for path in modules)
    lines = {path: len((ROOT / path).read_text("utf-8").splitlines()) for path in modules}
    print(f"{len(modules)} modules in {len(folders)} folders, {sum(lines.values())} lines")
    print(
        "files a folder:", *(f"  {n:4d} {name}" for name, n in folders.most_common(most)), sep="\n"
    )
    longest = sorted(lines.items(), key=lambda item: -item[1])[:most]
    print("longest modules:", *(f"  {n:4d} {path}" for path, n in longest), sep="\n")
    print(f"above 300 lines: {sum(n > 300 for n in lines.values())}")
    graph = import_graph()
    wrong = {"import circles": import_circles(graph), "out of layers": out_of_layers(graph)}
    for name, found in wrong.items():
        print(f"{name}: {len(found)}", *(f"  {line}" for line in found), sep="\n")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
