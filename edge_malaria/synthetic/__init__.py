"""Drawn red cells and thin smears with known truth: for the demo, tests and the simulated camera.

Everything is drawn as the share of light that passes, so that cells which lie on each other
darken as they do under a microscope. The same seed gives the same picture: sines come from a
rounded table, blurs and textures from OpenCV's fixed-point functions.
"""

from edge_malaria.synthetic.cells import (
    DRAWN_KINDS,
    PARASITIZED_KINDS,
    RED_CELL_KINDS,
    DrawnCell,
    DrawnKind,
    draw_cell,
)
from edge_malaria.synthetic.layout import SmearSettings
from edge_malaria.synthetic.smear import DrawnSlide, draw_field
from edge_malaria.synthetic.stage import DrawnStage, Shot
from edge_malaria.synthetic.stains import BACKGROUNDS, STAINS, Stain, pick_stain
from edge_malaria.synthetic.truth import DrawnObject, SmearTruth

__all__ = [
    "BACKGROUNDS",
    "DRAWN_KINDS",
    "PARASITIZED_KINDS",
    "RED_CELL_KINDS",
    "STAINS",
    "DrawnCell",
    "DrawnKind",
    "DrawnObject",
    "DrawnSlide",
    "DrawnStage",
    "Shot",
    "SmearSettings",
    "SmearTruth",
    "Stain",
    "draw_cell",
    "draw_field",
    "pick_stain",
]
