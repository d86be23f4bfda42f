"""The model card that travels in every bundle as README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_malaria.records import RESEARCH_USE

_NOT_FOR = """## What it must not be used for

- Deciding about a patient. It is decision support for research; a person reads the slide.
- Thick smears, species identification, or counting gametocytes.
- Cells cut by other means than the bundle's preprocessing, or crops that show neighbours without
  `--mask auto`.
- Stains, microscopes and cameras unlike those it was measured on, before it was measured there."""


def bundle_readme(
    record: Mapping[str, Any],
    sizes: Mapping[str, int],
    evaluation: Mapping[str, Any] | None,
) -> str:
    """Markdown of one bundle: what it is, what was measured, what it must not be used for.

    Args:
        record: bundle.json's object, without ``files``.
        sizes: ``variant/engine`` -> bytes.
        evaluation: measures on val patients, or None where no data was given.
    """
    classifier = record["models"]["classifier"]
    decision = classifier["decision"]
    lines = [
        f"# {record['name']} {record['version']}",
        "",
        f"**{RESEARCH_USE}**",
        "",
        "A red-cell classifier for thin blood smears, exported by edge-malaria. It says how "
        "probably one isolated red cell is parasitized.",
        "",
        "| variant / engine | bytes |",
        "|---|---|",
        *[f"| {name} | {size:,} |" for name, size in sizes.items()],
        "",
        f"Input: {classifier['preprocessing']['size_px']} x "
        f"{classifier['preprocessing']['size_px']} RGB uint8, "
        f"{', '.join(classifier['preprocessing']['steps'])}. int8 input is pixel - 128.",
        "",
        "| operating point | threshold on p(parasitized) |",
        "|---|---|",
        *[
            f"| {name} | {point['threshold']:.4f} |"
            for name, point in decision["operating_points"].items()
        ],
        "",
        *_asked_again(decision),
        f"Int8 ranges: {classifier['int8']['ranges'] or 'no int8 variant'}. "
        f"Evidence of the parity gate: {record['evidence']}.",
        "",
        *_few_cells(classifier.get("gate") or {}),
        *_who_decided(classifier.get("gate") or {}),
        *_unknown_patients(record.get("provenance") or {}),
        *_measured(evaluation),
        "",
        _NOT_FOR,
        "",
        "Repeat the proof: `edge-malaria parity BUNDLE`. Check the files: "
        "`edge-malaria selftest BUNDLE`.",
        "",
    ]
    return "\n".join(lines)


def _asked_again(decision: Mapping[str, Any]) -> list[str]:
    """Where flagged cells are asked again."""
    if second := decision.get("second"):
        return [
            f"A cell whose first answer reaches {second['from']} is shown to a second, larger "
            "network (the folder `second`, with a card of its own), which decides. The thresholds "
            "hold for both together.",
            "",
        ]
    views = decision.get("flagged_views", 1)
    if views == 1:
        return []
    return [
        f"A cell at or above the balanced point is asked again in {views} views (quarter turns and "
        "mirror images); their mean logit decides. The thresholds hold for that only.",
        "",
    ]


def _few_cells(gate: Mapping[str, Any]) -> list[str]:
    """The margin, where few labelled cells made it wider."""
    if "delta_asked" not in gate:
        return []
    return [
        f"Few labelled cells: the gate's margin is {gate['delta']:.1%} in place of "
        f"{gate['delta_asked']:.1%}. A smaller change could not be shown; drawn cells were held to "
        "the usual limits.",
        "",
    ]


def _who_decided(gate: Mapping[str, Any]) -> list[str]:
    """Where labelled cells decided alone, and how sure the network may be."""
    if gate.get("drawn_decide", True):
        return []
    found = [
        "Labelled cells decided, near the threshold too. Drawn ones, which this network was not "
        "made for, were compared and decided nothing.",
        "",
    ]
    if "temperature" in gate:
        found += [
            "It is surer than it may be: its probabilities fit the labels only with its logits "
            f"divided by {gate['temperature']:.4g}. Files were compared so. Take what it says as "
            "a call, not as a probability.",
            "",
        ]
    return found


def _unknown_patients(provenance: Mapping[str, Any]) -> list[str]:
    if provenance.get("patients") != "unknown":
        return []
    return [
        "**The patients of its cells are unknown.** Cells of one patient may stand on both sides, "
        "so every figure below is too good and none may be quoted.",
        "",
    ]


def _measured(evaluation: Mapping[str, Any] | None) -> list[str]:
    if evaluation is None:
        return [
            "No real cells were given to this export. Figures of the shipped model stand in the "
            "project's docs/MODEL_CARD.md; they hold for this bundle only if the sha256 of its "
            "int8 file is the one named there."
        ]
    rows = [
        f"| {name} | {evaluation[name]:.4f} |"
        for name in ("accuracy", "auc", "sensitivity", "specificity", "mcc")
        if evaluation[name] is not None
    ]
    return [
        f"Measured on {evaluation['n']} cells of val patients, {evaluation['variant']} on "
        f"{evaluation['engine']} (raw labels):",
        "",
        "| measure | value |",
        "|---|---|",
        *rows,
    ]
