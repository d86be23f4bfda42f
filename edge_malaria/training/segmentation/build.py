"""Fits the FCN: ``python -m edge_malaria.training.segmentation.build --data DATA -o fcn.keras``.

On the training tiles of the shipped cell finder, and drawn fields with marked parasites. What was
done is written beside the network as JSON.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from edge_malaria.files import write_json
from edge_malaria.training.classifier.run_files import save_model
from edge_malaria.training.finder.tile_source import FinderPlan, open_source
from edge_malaria.training.segmentation.network import build_fcn, train_fcn
from edge_malaria.training.segmentation.tiles import SegmentationSource, drawn_parasites

DRAWN_FIELDS = 60
PLAN = FinderPlan(steps=6000, peak_rate=4e-3, real_share=0.5, patches=3000, seed=1)


def build(
    data: Path,
    output: Path,
    plan: FinderPlan = PLAN,
    minutes: float = math.inf,
    cpu_minutes: float = math.inf,
    drawn: int = DRAWN_FIELDS,
    say: Callable[[str], None] = print,
) -> None:
    """Fits the FCN from nothing and writes it, without optimizer state.

    Args:
        data: folder with ``nih/`` and ``fields/``.
        output: the .keras file; ``output`` with .json beside it says what was done.
        plan: steps, rate, seed.
        minutes: see ``train_fcn``.
        cpu_minutes: see ``train_fcn``.
        drawn: drawn fields.
        say: takes lines of progress.
    """
    tiles = open_source(data, plan)
    source = SegmentationSource(tiles.patches, tiles.fields, drawn_parasites(drawn))
    say(f"{len(tiles.patches)} cells, {len(tiles.fields)} fields, {drawn} drawn fields")
    network, facts = train_fcn(source, plan, say, minutes, cpu_minutes)
    save_model(network, output)
    size = {"parameters": int(build_fcn().count_params()), "fields": len(tiles.fields)}
    budget = {
        name: None if math.isinf(value) else value
        for name, value in (("minutes_at_most", minutes), ("cpu_minutes_at_most", cpu_minutes))
    }
    record = {**size, **facts, **budget, "drawn_fields": drawn, "plan": asdict(plan)}
    write_json(output.with_suffix(".json"), record)


def print_at_once(line: str) -> None:
    """One line that a log shows as soon as it is written."""
    print(line, flush=True)


def main() -> int:
    """Parses and builds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--cpu-minutes", type=float, default=math.inf)
    parser.add_argument("--steps", type=int, default=PLAN.steps)
    parser.add_argument("--patches", type=int, default=PLAN.patches)
    parser.add_argument("--drawn", type=int, default=DRAWN_FIELDS)
    options = parser.parse_args()
    plan = replace(PLAN, steps=options.steps, patches=options.patches)
    limits = (options.minutes, options.cpu_minutes)
    build(options.data, options.output, plan, *limits, options.drawn, print_at_once)
    return 0


if __name__ == "__main__":
    sys.exit(main())
