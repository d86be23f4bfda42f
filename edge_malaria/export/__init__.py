"""``edge-malaria export``: Keras -> every variant and format -> goldens -> gate -> bundle."""

from edge_malaria.export.convert import Options
from edge_malaria.export.gate import Exported, export_bundle, keras_classifier

__all__ = ["Exported", "Options", "export_bundle", "keras_classifier"]
