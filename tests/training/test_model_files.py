"""Model files that are made to fill the memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="reading .keras files needs the [train] extra")

from edge_malaria.errors import ModelFileError
from edge_malaria.keras_layers import MAX_SMALL_BYTES, load_model


def test_a_file_that_unpacks_to_far_more_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("config.json", "w") as out,
    ):
        for _ in range((MAX_SMALL_BYTES >> 20) + 1):
            out.write(b" " * (1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelFileError, match="unpacks to 65 MB"):
        load_model(path)
