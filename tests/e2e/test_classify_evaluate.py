"""``classify``, ``evaluate``, ``selftest`` and ``doctor`` as a user runs them."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_malaria.files import encode_image, write_image
from edge_malaria.synthetic import draw_cell
from tests.cli import run_cli, run_process, validate


def drawn(kind: str, seed: int) -> np.ndarray:
    return draw_cell(np.random.default_rng(seed), kind).image


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cells in the NIH layout, patients unknown."""
    root = tmp_path_factory.mktemp("cells") / "drawn"
    for seed in range(12):
        write_image(root / "Parasitized" / f"a{seed}.png", drawn("ring", seed))
        write_image(root / "Uninfected" / f"b{seed}.png", drawn("healthy", 100 + seed))
    return root


def test_classify_gives_one_answer_a_crop(cells: Path) -> None:
    ran = run_process("classify", cells, "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "classify")
    assert len(ran.json) == 24
    table = run_cli("classify", cells / "Parasitized" / "a0.png")
    assert table.code == 0
    assert "a0.png" in table.out


def _answers(cells: Path, bundle: str) -> list[list[dict[str, Any]]]:
    command = ("classify", cells, "--json", "--bundle", bundle, "--engine")
    return [run_cli(*command, engine).json for engine in ("litert", "onnx")]


def test_both_engines_give_the_same_int8_answers_of_one_network(cells: Path) -> None:
    litert, onnx = _answers(cells, "micro")
    assert litert == onnx


def test_both_engines_call_cells_alike_where_a_second_network_is_asked(cells: Path) -> None:
    """The engines round the sums of its residual branches otherwise, by some steps of 256."""
    litert, onnx = _answers(cells, "default")
    for one, other in zip(litert, onnx, strict=True):
        assert (one["label"], one["positive"]) == (other["label"], other["positive"])
        assert one["p_parasitized"] == pytest.approx(other["p_parasitized"], abs=0.1)


def test_evaluate_warns_where_patients_are_unknown(cells: Path) -> None:
    ran = run_process("evaluate", "default", cells, "--json")
    assert ran.code == 0, ran.err
    document = ran.json
    validate(document, "evaluate")
    assert document["n"] == 24
    assert document["per_patient"] is None
    assert document["split"] == "all"
    assert "patients are unknown" in ran.err
    table = document["confusion"]
    assert table["tp"] + table["fn"] == 12
    assert table["tn"] + table["fp"] == 12


def test_one_class_alone_leaves_rates_undefined_not_wrong(cells: Path, tmp_path: Path) -> None:
    shutil.copytree(cells / "Uninfected", tmp_path / "d" / "Uninfected")
    (tmp_path / "d" / "Parasitized").mkdir()
    ran = run_cli("evaluate", "default", tmp_path / "d", "--json")
    assert ran.code == 5
    assert "Parasitized" in ran.error


def test_a_shipped_bundle_is_whole_and_gives_its_recorded_bits() -> None:
    ran = run_process("selftest", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "selftest")
    int8 = [row for row in ran.json["rows"] if row["variant"] == "int8"]
    assert {row["engine"] for row in int8} == {"litert", "onnx"}
    assert all(row["differing"] == 0 for row in int8)


@pytest.mark.slow
def test_doctor_finds_its_own_house_in_order() -> None:
    ran = run_process("doctor", "--json")
    assert ran.code == 0, ran.err
    validate(ran.json, "doctor")
    states = {f["what"]: f["state"] for f in ran.json["findings"]}
    assert states["converters"] == "ok"
    assert states["bundle used"] == "ok"
    assert states["engine litert"] == "ok"


def png_bomb() -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.png", b"", "empty"),
        ("text.jpg", b"hello, I am a text", "not an image"),
        ("cut.png", encode_image(np.full((40, 40, 3), 7, np.uint8))[:60], "image"),
        ("bomb.png", png_bomb(), "30000 x 30000"),
    ],
)
def test_bad_pictures_are_one_line_and_exit_5(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    ran = run_cli("classify", tmp_path / name)
    assert ran.code == 5
    assert words in ran.error
    assert name in ran.error


@pytest.mark.parametrize("form", ["1x1", "16-bit", "grey", "rgba"])
def test_odd_pictures_are_read_rightly(tmp_path: Path, form: str) -> None:
    image = drawn("ring", 3)
    bgr = image[:, :, ::-1]
    written = {
        "1x1": np.full((1, 1, 3), 90, np.uint8),
        "16-bit": bgr.astype(np.uint16) * 257,
        "grey": cv2.cvtColor(np.ascontiguousarray(bgr), cv2.COLOR_BGR2GRAY),
        "rgba": np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)]),
    }[form]
    path = tmp_path / f"{form}.png"
    assert cv2.imwrite(str(path), written)
    ran = run_cli("classify", path, "--json")
    assert ran.code == 0, ran.err
    if form in ("16-bit", "rgba"):
        plain = tmp_path / "plain.png"
        write_image(plain, image)
        same = run_cli("classify", plain, "--json").json[0]["p_parasitized"]
        assert ran.json[0]["p_parasitized"] == same


def test_missing_things_have_their_own_exit_codes(cells: Path, tmp_path: Path) -> None:
    assert run_cli("classify", tmp_path / "none.png").code == 5
    assert run_cli("evaluate", "default", tmp_path / "none").code == 5
    assert run_cli("evaluate", tmp_path / "no-bundle", cells).code == 4
    assert run_cli("evaluate", "default", cells, "--variant", "float64").code == 2
    assert run_cli("evaluate", "default", cells, "--split", "test").code == 5
    assert run_cli("no-such-command").code == 2


def test_an_edited_bundle_is_refused(shipped_bundle: Path, cells: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(shipped_bundle, tmp_path / "b"))
    path = copy / "model.int8.tflite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(bytes(data))
    ran = run_cli("classify", cells, "--bundle", copy)
    assert ran.code == 4
    assert "model.int8.tflite" in ran.error


def test_version_and_help() -> None:
    assert run_cli("--version").out.startswith("edge-malaria ")
    shown = run_process("--help")
    assert shown.code == 0
    assert "research use only" in shown.out.replace("\n", " ").lower()


def test_classify_reads_a_folder_by_content_and_names_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    data = encode_image(drawn("ring", 1), ".jpg")
    for name in ("a.jfif", "b", "c.png"):
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in" / "d.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    ran = run_cli("classify", tmp_path / "in", "--json")
    assert ran.code == 0, ran.err
    assert [Path(row["file"]).name for row in ran.json] == ["a.jfif", "b", "c.png"]
    assert "1 .heic" in ran.err
    (tmp_path / "in" / "e.jpg").write_bytes(data + data)
    assert "holds 2 pictures" in run_cli("classify", tmp_path / "in" / "e.jpg").error
