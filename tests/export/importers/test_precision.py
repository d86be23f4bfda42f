"""Networks that computed in half precision, or that are served on whole numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="importing needs the [export] extra")

from edge_malaria.errors import UsageError
from edge_malaria.export.importers import Declared, import_model
from edge_malaria.export.importers.importing import logits_of
from tests.export.importers.small_networks import PIXELS, TOLD, rebuilt, small


@pytest.mark.parametrize("nested", [False, True])
def test_a_network_trained_in_half_precision_is_read_in_float32(
    tmp_path: Path, nested: bool
) -> None:
    import keras
    from keras import layers

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        front = [keras.Sequential([layers.Conv2D(3, 1)], name="part")] if nested else []
        model = small(*front, layers.BatchNormalization(), last="linear")
        model.add(layers.Activation("sigmoid", dtype="float32"))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    said = np.asarray(model(PIXELS / np.float32(255.0)), np.float64).reshape(-1)
    made = rebuilt(model, tmp_path / "a.keras")
    logits = logits_of(made.model, PIXELS)
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-logits)), said, atol=5e-3)


def test_what_is_served_on_uint8_takes_pixels(tmp_path: Path) -> None:
    import tensorflow as tf

    model = small()

    class Served(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = model.variables

        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.uint8)])
        def serve(self, image: Any) -> Any:
            x = tf.cast(image, tf.float32) / 255.0
            return {"p": model(x, training=False)}

    served = Served()
    tf.saved_model.save(served, str(tmp_path / "served"), signatures=served.serve)
    told = Declared(colour="rgb", resize="area", classes=TOLD.classes)
    made = import_model(tmp_path / "served", told)
    assert (made.contract.input_range, made.contract.origins["input_range"]) == (
        "0-255",
        "read from the file",
    )
    said = np.asarray(model(PIXELS / np.float32(255.0))).reshape(-1)
    np.testing.assert_allclose(
        1.0 / (1.0 + np.exp(-logits_of(made.model, PIXELS))), said, atol=1e-4
    )
    with pytest.raises(UsageError, match="takes whole numbers"):
        import_model(tmp_path / "served", TOLD)
