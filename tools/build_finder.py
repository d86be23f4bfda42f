"""Rebuilds the shipped cell finder: ``python -m tools.build_finder --data DATA``.

Two rounds: the first on composed tiles and on fields as they were annotated, the second on fields
whose unnamed cells the first round's network filled in, with drawn fields beside them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_malaria.training.finder.drawn import drawn_fields
from edge_malaria.training.finder.network import train_finder
from edge_malaria.training.finder.relabel import relabelled
from edge_malaria.training.finder.tile_source import FinderPlan, TileSource, open_source
from edge_malaria.training.quantization.fold import fold

DRAWN_FIELDS = 60
FIRST = FinderPlan(steps=6000, peak_rate=4e-3, seed=1)
SECOND = FinderPlan(steps=1800, peak_rate=2e-3, real_share=0.5, seed=7)


def second_source(source: TileSource, network: Any) -> TileSource:
    """The second round's tiles; every drawn field counts as one real field."""
    fields = relabelled(source.fields, network)
    return replace(source, fields=[*fields, *drawn_fields(DRAWN_FIELDS)])


def build_shipped_finder(data: Path, output: Path, say: Callable[[str], None] = print) -> None:
    """Fits the finder from nothing and writes its folded network, without optimizer state.

    Args:
        data: folder with ``nih/`` and ``fields/``.
        output: the .keras file to write.
        say: takes lines of progress.
    """
    source = open_source(data, FIRST)
    network = train_finder(source, FIRST, say)
    network = train_finder(second_source(source, network), SECOND, say, network)
    fold(network).save(output)


def main() -> int:
    """Parses and builds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    build_shipped_finder(options.data, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
