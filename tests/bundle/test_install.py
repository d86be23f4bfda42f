"""Bundles side by side on a device: whole or not there, checked before use, one step back."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_malaria.bundle.format import read_bundle, write_index
from edge_malaria.bundle.install import DAMAGED, BundleStore, index_bytes
from edge_malaria.bundle.shipped import shipped_bundle
from edge_malaria.bundle.signing import new_key, sign, signature_path
from edge_malaria.errors import (
    BundleError,
    BundleIntegrityError,
    GateFailed,
    OutputExists,
    UsageError,
)
from tests.cli import run_cli, run_process


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "store")


def zipped(bundle: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(bundle.rglob("*")):
            if file.is_file():
                archive.write(file, Path("inside") / file.relative_to(bundle))
    return path


@pytest.mark.slow
def test_install_activate_and_one_step_back(
    store: BundleStore, shipped_bundle: Path, tmp_path: Path
) -> None:
    micro = shipped_bundle.parent / "micro"
    with pytest.raises(UsageError, match="no bundle is active"):
        store.active()
    first = store.install(shipped_bundle)
    second = store.install(zipped(micro, tmp_path / "micro.zip"))
    assert index_bytes(second.path) == index_bytes(micro)
    assert store.install(shipped_bundle) == first, "a second time changes nothing"
    assert [one.active for one in store.all()] == [False, False]
    assert store.activate("default").active
    assert store.active().name == "default"
    assert store.activate(second.id[:8]).active
    assert store.active().name == "micro"
    with pytest.raises(UsageError, match="installed are"):
        store.activate("nothing")
    assert store.rollback().name == "default"
    assert store.rollback().name == "micro"


def test_a_changed_bundle_is_never_used(store: BundleStore, shipped_bundle: Path) -> None:
    kept = store.install(shipped_bundle.parent / "micro")
    store.activate(kept.id)
    model = kept.path / "model.int8.tflite"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleIntegrityError, match="changed or damaged"):
        store.active()
    model.write_bytes(whole)
    index = json.loads(index_bytes(kept.path))
    index["version"] = "9"
    (kept.path / "bundle.json").write_text(json.dumps(index))
    with pytest.raises(BundleIntegrityError):
        store.active()
    shutil.rmtree(kept.path)
    with pytest.raises(BundleIntegrityError, match="is gone"):
        store.active()


@pytest.mark.slow
def test_a_damaged_bundle_keeps_nobody_from_the_others(
    store: BundleStore, shipped_bundle: Path
) -> None:
    good = store.install(shipped_bundle.parent / "micro")
    odd = store.install(shipped_bundle)
    for index in (b"[1]", b"{", b"\xff", b'{"name": NaN}'):
        (odd.path / "bundle.json").write_bytes(index)
        assert sorted(one.name for one in store.all()) == [DAMAGED, "micro"]
        assert store.activate("micro").id == good.id
        with pytest.raises(BundleError):
            store.activate(odd.id)
    (odd.path / "bundle.json").unlink()
    assert DAMAGED in [one.name for one in store.all()]


def test_a_state_or_a_key_that_cannot_be_read_is_named(
    tmp_path: Path, shipped_bundle: Path
) -> None:
    store = BundleStore(tmp_path / "store", require_signature=True)
    for state in ("[1]", "7", "{", "[" * 100_000):
        store.root.mkdir(exist_ok=True)
        (store.root / "active.json").write_text(state)
        with pytest.raises(BundleIntegrityError, match=r"active\.json is damaged"):
            store.active()
    trusted = store.root / "trusted"
    trusted.mkdir()
    (trusted / "clinic.pub").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleIntegrityError, match=r"clinic\.pub is no key"):
        store.install(shipped_bundle)


def test_a_bundle_that_answers_otherwise_here_stays_inactive(
    store: BundleStore, shipped_bundle: Path, tmp_path: Path
) -> None:
    """Its stored outputs are edited and hashed anew, as another machine's would differ."""
    micro = shipped_bundle.parent / "micro"
    good = store.install(micro)
    store.activate(good.id)
    other = tmp_path / "other"
    shutil.copytree(micro, other)
    for path in (other / "golden").glob("litert.int8.npz"):
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        arrays = {
            name: value + 40 if value.dtype == np.int8 else value for name, value in arrays.items()
        }
        np.savez(path, **arrays)
    record = json.loads(index_bytes(other))
    write_index(other, {k: v for k, v in record.items() if k not in ("files",)})
    read_bundle(other)
    odd = store.install(other)
    with pytest.raises(GateFailed, match="stays inactive"):
        store.activate(odd.id)
    assert store.active().path == good.path


def test_only_bundles_that_a_trusted_key_signed(tmp_path: Path, shipped_bundle: Path) -> None:
    strict = BundleStore(tmp_path / "store", require_signature=True)
    bundle = tmp_path / "default"
    shutil.copytree(shipped_bundle, bundle)
    with pytest.raises(BundleIntegrityError, match="is not signed"):
        strict.install(bundle)
    public = new_key(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(OutputExists):
        new_key(tmp_path / "key.pem")
    sign(bundle, index_bytes(bundle), tmp_path / "key.pem")
    with pytest.raises(BundleIntegrityError, match="does not trust"):
        strict.install(bundle)
    trusted = tmp_path / "store" / "trusted"
    trusted.mkdir(parents=True, exist_ok=True)
    shutil.copy(public, trusted)
    kept = strict.install(bundle)
    assert kept.signed and strict.activate(kept.id).active
    # The signature of another bundle, and one that was edited.
    micro = tmp_path / "micro"
    shutil.copytree(shipped_bundle.parent / "micro", micro)
    shutil.copy(signature_path(bundle), signature_path(micro))
    with pytest.raises(BundleIntegrityError, match="another bundle"):
        strict.install(micro)
    document = json.loads(signature_path(bundle).read_text())
    document["signature"] = document["signature"][::-1].replace("=", "") + "=="
    signature_path(bundle).write_text(json.dumps(document))
    with pytest.raises(BundleIntegrityError, match=r"does not hold|damaged"):
        strict.install(bundle)
    signature_path(kept.path).unlink()
    with pytest.raises(BundleIntegrityError, match="is not signed"):
        strict.active()


@pytest.mark.slow
def test_killed_while_installing_the_old_bundle_stays(tmp_path: Path, shipped_bundle: Path) -> None:
    """kill -9 at moments spread over the copy: what is listed is whole, one is active."""
    root = tmp_path / "store"
    store = BundleStore(root)
    store.activate(store.install(shipped_bundle).id)
    micro = shipped_bundle.parent / "micro"
    code = (
        "import sys; from pathlib import Path; from edge_malaria.bundle.install import BundleStore;"
        "s = BundleStore(Path(sys.argv[1])); print('go', flush=True);"
        "s.activate(s.install(Path(sys.argv[2])).id)"
    )
    for wait_s in (0.0, 0.01, 0.03, 0.06, 0.1, 0.2):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(root), str(micro)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None and child.stdout.readline() == b"go\n"
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        for one in store.all():
            read_bundle(one.path)
        assert store.active().name in ("default", "micro")
    assert store.activate(store.install(micro).id).active


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_MALARIA_HOME", str(tmp_path / "home"))
    done = run_process("bundle", "install", shipped_bundle(), "--activate")
    assert done.code == 0 and "site profile" in done.err
    listed = run_cli("bundle", "list", "--json").json["bundles"]
    assert [(one["name"], one["active"]) for one in listed] == [("default", True)]
    crop = shipped_bundle() / "golden" / "crops" / "crop00.png"
    used = run_cli("classify", crop, "--bundle", "active", "--json")
    assert used.code == 0, used.err
    refused = run_cli("bundle", "rollback")
    assert refused.code == 2 and "no bundle was active before" in refused.error
    unsigned = run_cli("bundle", "activate", "default", "--require-signature")
    assert unsigned.code == 4 and "not signed" in unsigned.error
