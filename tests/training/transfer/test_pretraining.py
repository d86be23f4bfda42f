"""CIFAR-100 is read safely, and a body trained on it is taken by name."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_malaria.errors import (
    DatasetError,
    UsageError,
)
from edge_malaria.training.architectures import build
from edge_malaria.training.transfer.cifar import RECORD, read_cifar100
from edge_malaria.training.transfer.pretrain import classifier, pretrain
from edge_malaria.training.transfer.weights import (
    load_weights,
)
from tests.cli import run_process, validate


def write_binary(folder: Path, count: int = 40) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("train.bin", "test.bin"):
        records = rng.integers(0, 256, (count, RECORD)).astype(np.uint8)
        records[:, 0] %= 20
        records[:, 1] %= 100
        # The first picture: a red upper row, so that planes and rows cannot be mistaken.
        records[0, 1], records[0, 2:] = 7, 0
        records[0, 2 : 2 + 32] = 255
        (folder / name).write_bytes(records.tobytes())
    return folder


def write_python(folder: Path, payload: Any = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        table = {
            b"data": rng.integers(0, 256, (30, 3072)).astype(np.uint8),
            b"fine_labels": rng.integers(0, 100, 30).tolist(),
            b"filenames": [b"a.png"] * 30,
        }
        (folder / name).write_bytes(pickle.dumps(payload or table, protocol=2))
    return folder


def test_binary_cifar_from_folder_and_archive(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "cifar-100-binary")
    train, test = read_cifar100(folder)
    assert train.images.shape == (40, 32, 32, 3) and len(test.labels) == 40
    assert train.labels[0] == 7
    assert (train.images[0, 0] == (255, 0, 0)).all() and train.images[0, 1:].max() == 0
    archive = tmp_path / "cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as out:
        out.add(folder, "cifar-100-binary")
    again, _ = read_cifar100(archive)
    assert np.array_equal(again.images, train.images)


def test_pickled_cifar_is_read_and_code_in_it_is_not_run(tmp_path: Path) -> None:
    train, _ = read_cifar100(write_python(tmp_path / "good"))
    assert train.images.shape == (30, 32, 32, 3)
    mark = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark),)

    with pytest.raises(DatasetError, match="refused"):
        read_cifar100(write_python(tmp_path / "bad", {b"data": Trap()}))
    assert not mark.exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        read_cifar100(tmp_path / "absent")
    with pytest.raises(DatasetError, match="is not CIFAR-100"):
        read_cifar100(tmp_path)
    (tmp_path / "train.bin").write_bytes(b"123")
    (tmp_path / "test.bin").write_bytes(b"123")
    with pytest.raises(DatasetError, match="records of 3074 bytes"):
        read_cifar100(tmp_path)
    text = tmp_path / "text.tar.gz"
    text.write_text("no archive")
    with pytest.raises(DatasetError, match="no readable tar"):
        read_cifar100(text)


def test_pretrained_body_is_taken_by_name(tmp_path: Path) -> None:
    train, test = read_cifar100(write_binary(tmp_path))
    done = pretrain(train, test, "fast50", size=16, epochs=1, batch=16)
    assert done.model.output.shape == (None, 100)
    assert 0.0 <= done.history[0]["test_accuracy"] <= 1.0
    path = tmp_path / "body.keras"
    done.model.save(path)
    model = build("fast50", 16)
    logit = model.get_layer("logit").get_weights()
    assert load_weights(model, "fast50", str(path)) == 4
    taken = model.get_layer("block2_conv").get_weights()[0]
    assert np.array_equal(taken, done.model.get_layer("block2_conv").get_weights()[0])
    assert np.array_equal(model.get_layer("logit").get_weights()[0], logit[0])
    with pytest.raises(UsageError, match="unknown architecture"):
        classifier("vast")


@pytest.mark.long
@pytest.mark.slow
def test_pretrain_as_a_user_runs_it(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "cifar")
    out = tmp_path / "body.keras"
    options = ["--arch", "fast50", "--input-size", "16", "--epochs", "1", "--batch", "16"]
    done = run_process("pretrain", folder, "-o", out, *options, "--json")
    assert done.code == 0, done.err
    validate(done.json, "pretrain")
    assert out.is_file()
