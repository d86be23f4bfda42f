"""``edge-malaria export``: Keras -> every variant and format -> goldens -> gate -> bundle."""

from edge_malaria.export.classifiers import keras_classifier
from edge_malaria.export.convert import Options
from edge_malaria.export.exported import Exported
from edge_malaria.export.gate import export_bundle
from edge_malaria.export.importers import Declared, Loading
from edge_malaria.export.sanity import OwnModel

__all__ = [
    "Declared",
    "Exported",
    "Loading",
    "Options",
    "OwnModel",
    "export_bundle",
    "keras_classifier",
]
