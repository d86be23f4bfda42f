"""Names of fields: each file keeps the one it was first counted under while its folder grows.

A field is called after its file; files of one name are told apart by their folders. A second file
of a name that was counted already must not rename the first one, or that would count twice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edge_malaria.errors import UsageError
from edge_malaria.files import printable

# Behind the name of a file that holds several pictures.
_PART = re.compile(r"#\d+$")
# So many names stand in a message.
_NAMED = 3


@dataclass(frozen=True)
class Known(Container[str]):
    """The fields that a resumed slide has: what its source may leave out.

    Attributes:
        names: of the fields.
        again: those of them that are wanted once more all the same.
    """

    names: frozenset[str]
    again: frozenset[str] = frozenset()

    def __contains__(self, name: object) -> bool:
        return name in self.names and name not in self.again

    @cached_property
    def files(self) -> frozenset[str]:
        """The files of these fields."""
        return self.names | {_PART.sub("", name) for name in self.names}


class FieldNames:
    """Gives the files of one source their names.

    Args:
        skip: what ``Source.fields`` was given; a ``Known`` tells which names are taken.
        folder: names with a folder begin below it; None takes the path as it was given.
    """

    def __init__(self, skip: Container[str] = (), folder: Path | None = None) -> None:
        self._known = skip.files if isinstance(skip, Known) else frozenset()
        self._folder = folder
        self._given: dict[Path, str] = {}

    def settle(self, named: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
        """(name, path) of the same files, each as it was called before.

        Args:
            named: (name, path) of all files that are there now, as ``listing.named`` gives them.

        Raises:
            UsageError: several files may be the one that the journal has under their name.
        """
        taken = set(self._given.values())
        groups: dict[str, list[tuple[str, Path]]] = defaultdict(list)
        for name, path in named:
            if path not in self._given:
                groups[printable(path.name)].append((name, path))
        for short, group in groups.items():
            if short in taken:
                self._given.update({path: self._with_folder(path) for _, path in group})
            elif short in self._known:
                self._given.update(self._as_known(short, [path for _, path in group]))
            else:
                self._given.update({path: name for name, path in group})
        return [(self._given[path], path) for _, path in named]

    def _as_known(self, short: str, paths: Sequence[Path]) -> dict[Path, str]:
        """The names of files of one name that the journal has alone."""
        found = {path: self._with_folder(path) for path in paths}
        new = [path for path, name in found.items() if name not in self._known]
        if len(new) > 1:
            more = " ..." if len(new) > _NAMED else ""
            raise UsageError(
                f"{len(new)} files are called {short} by now "
                f"({', '.join(found[path] for path in new[:_NAMED])}{more}). One was counted "
                "before, and which one cannot be told. Give those that came later another name."
            )
        return {**found, **dict.fromkeys(new, short)}

    def _with_folder(self, path: Path) -> str:
        inside = path.relative_to(self._folder) if self._folder else path
        name = inside.as_posix()
        return printable(name if "/" in name else f"./{name}")
