"""Models of somebody else: read, contract completed, rebuilt in this project's form, compared."""

from edge_malaria.export.importers.contract import Contract, Declared
from edge_malaria.export.importers.importing import Imported, Loading, import_model

__all__ = ["Contract", "Declared", "Imported", "Loading", "import_model"]
