"""TensorFlow Datasets' files, written by TensorFlow and read without it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_malaria.data.dataset import open_dataset
from edge_malaria.errors import DatasetError
from tests.data.cells import picture


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def example(image: bytes, label: int) -> bytes:
    """A tf.train.Example of one cell."""
    entries = {
        b"image": _field(1, _field(1, image)),
        b"label": _field(3, _field(1, _varint(label))),
    }
    features = b"".join(_field(1, _field(1, k) + _field(2, v)) for k, v in entries.items())
    return _field(1, features)


def write_records(path: Path, messages: list[bytes]) -> None:
    """A TFRecord file; the checksums are not looked at."""
    records = (struct.pack("<Q", len(m)) + bytes(4) + m + bytes(4) for m in messages)
    path.write_bytes(b"".join(records))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "malaria" / "1.0.0"
    root.mkdir(parents=True)
    (root / "label.labels.txt").write_text("parasitized\nuninfected")
    for part in range(2):
        messages = [example(picture(4 * part + i), i % 2) for i in range(4)]
        write_records(root / f"malaria-train.tfrecord-0000{part}-of-00002", messages)
    return root


def test_records_are_cells_with_the_named_classes(folder: Path) -> None:
    data = open_dataset(folder)
    assert len(data.rows) == 8 and sum(row.label for row in data.rows) == 4
    first = data.rows[0]
    # TensorFlow Datasets counts parasitized as 0.
    assert first.file == "malaria-train.tfrecord-00000-of-00002#0" and first.label == 1
    assert data.read_bytes(first) == picture(0)
    assert not data.has_splits and not data.has_patients
    assert len(set(map(json.dumps, data.stamps()))) == 8
    write_records(folder / "malaria-test.tfrecord-00000-of-00001", [example(picture(20), 1)])
    assert [row.label for row in open_dataset(folder.parent).select("test").rows] == [0]


def test_what_tensorflow_writes_is_read(tmp_path: Path, tensorflow: Any) -> None:
    tf = tensorflow
    with tf.io.TFRecordWriter(str(tmp_path / "malaria-train.tfrecord-00000-of-00001")) as out:
        for number in range(6):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture(number)])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 2])),
            }
            made = tf.train.Example(features=tf.train.Features(feature=feature))
            out.write(made.SerializeToString())
    (tmp_path / "label.labels.txt").write_text("sick\nwell\n")
    data = open_dataset(tmp_path, classes="sick,well")
    assert [data.read_bytes(row) for row in data.rows] == [picture(i) for i in (0, 2, 4, 1, 3, 5)]


def test_records_without_names_or_of_other_classes_are_refused(folder: Path) -> None:
    (folder / "label.labels.txt").write_text("cat\ndog")
    with pytest.raises(DatasetError, match=r"label 0 \(cat\)"):
        open_dataset(folder)
    (folder / "label.labels.txt").unlink()
    with pytest.raises(DatasetError, match="which names the classes"):
        open_dataset(folder)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_records_are_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("records")
    path = root / "malaria-train.tfrecord-00000-of-00001"
    write_records(path, [example(picture(i), i % 2) for i in range(3)])
    (root / "label.labels.txt").write_text("parasitized\nuninfected")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        opened = open_dataset(root)
    except DatasetError:
        return
    assert all(opened.read_bytes(row) for row in opened.rows)
