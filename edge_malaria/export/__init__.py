"""``edge-malaria export``: Keras -> every variant and format -> goldens -> gate -> bundle."""

from edge_malaria.export.files import Options
from edge_malaria.export.pipeline import Exported, export_bundle, keras_classifier

__all__ = ["Exported", "Options", "export_bundle", "keras_classifier"]
