"""Files that are not what their names say: what a stranger's download and copy leave behind."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.errors import ModelFileError
from edge_malaria.export.importers import import_model
from edge_malaria.export.importers.importing import logits_of, sigmoid
from tests.export.importers.small_networks import PIXELS, TOLD, small


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx", ".tflite"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\0" * 2000, "is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_what_is_no_model_is_named(suffix: str, content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / f"theirs{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=what) as caught:
        import_model(path, TOLD)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.long
def test_keras_files_under_each_others_names_are_read(tmp_path: Path) -> None:
    model = small()
    wanted = np.asarray(model(PIXELS.astype(np.float32) / 255.0)).reshape(-1)
    for written, named in ((".h5", ".keras"), (".keras", ".h5")):
        model.save(tmp_path / f"a{written}")
        path = tmp_path / f"b{named}"
        shutil.copy(tmp_path / f"a{written}", path)
        got = logits_of(import_model(path, TOLD).model, PIXELS)
        np.testing.assert_allclose(sigmoid(got), wanted, atol=1e-4)


def test_another_kind_than_the_name_says_is_named_with_the_right_one(tmp_path: Path) -> None:
    small().save(tmp_path / "a.h5")
    for name in ("a.onnx", "a.tflite"):
        shutil.copy(tmp_path / "a.h5", tmp_path / name)
        with pytest.raises(ModelFileError, match=r"Rename it to a\.h5"):
            import_model(tmp_path / name, TOLD)
    (tmp_path / "b.onnx").write_bytes(b"\x1c\0\0\0TFL3" + bytes(600))
    with pytest.raises(ModelFileError, match=r"Rename it to b\.tflite"):
        import_model(tmp_path / "b.onnx", TOLD)


def test_folders_that_lack_a_part_say_which(tmp_path: Path) -> None:
    from converters.quiet import quiet

    model = small()
    model.save(tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        archive.extractall(tmp_path / "unpacked.keras")
    with pytest.raises(ModelFileError, match="unpacked"):
        import_model(tmp_path / "unpacked.keras", TOLD)
    with quiet():
        model.export(str(tmp_path / "saved"), verbose=False)
    shutil.rmtree(tmp_path / "saved" / "variables")
    with pytest.raises(ModelFileError, match="Copy the whole folder again") as caught:
        import_model(tmp_path / "saved", TOLD)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_apart_from_an_onnx_file_are_asked_for(tmp_path: Path) -> None:
    import onnx

    from converters.to_onnx import from_keras

    proto = onnx.load_from_string(from_keras(small()))
    onnx.save(
        proto,
        str(tmp_path / "a.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelFileError, match=r"Copy weights\.bin beside it"):
        import_model(tmp_path / "a.onnx", TOLD)
