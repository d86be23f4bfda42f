"""Pre-training on CIFAR-100: a body that has learned to see before it sees a cell.

What is written ends in 100 classes, not in a malaria logit, so that it cannot be exported or
evaluated by mistake; ``train --weights MODEL.keras`` takes its body by layer name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_malaria.errors import ModelShapeError
from edge_malaria.keras_layers import keras
from edge_malaria.prepare.preprocess import network_inputs
from edge_malaria.training.architectures import build
from edge_malaria.training.transfer.cifar import CLASSES, LabelledImages

Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Pretrained:
    """The outcome.

    Attributes:
        model: pixels 0-255 [N, S, S, 3] -> 100 logits.
        history: one entry an epoch: loss, test accuracy.
    """

    model: Any
    history: tuple[dict[str, float], ...]


def classifier(arch: str, size: int | None = None, classes: int = CLASSES) -> Any:
    """``arch`` with its last dense layer replaced by one of ``classes`` logits.

    Raises:
        ModelShapeError: the architecture does not end in a dense layer.
        UsageError: unknown architecture.
    """
    model = build(arch, size)
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        raise ModelShapeError(f"{arch} does not end in a dense layer, got {type(last).__name__}.")
    outputs = keras.layers.Dense(classes, name="classes")(last.input)
    return keras.Model(model.input, outputs, name=f"{model.name}_classes")


def pretrain(
    train: LabelledImages,
    test: LabelledImages,
    arch: str,
    *,
    size: int | None = None,
    epochs: int = 20,
    batch: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    report: Report = lambda entry: None,
) -> Pretrained:
    """Trains ``arch`` to name the 100 classes.

    Args:
        train: from ``cifar.read_cifar100``.
        test: likewise; only reported on.
        arch: a registered architecture that ends in a dense layer.
        size: input side in px; None for the architecture's own.
        epochs: passes over ``train``.
        batch: pictures a step.
        learning_rate: of AdamW, with a half cosine down to 1 %.
        seed: of weights, order and mirroring.
        report: called after each epoch.
    """
    keras.utils.set_random_seed(seed)
    model = classifier(arch, size)
    steps = max(1, len(train.labels) // batch)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps, alpha=0.01)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=5e-4, clipnorm=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    side = int(model.input.shape[1])
    history = []
    for epoch in range(epochs):
        losses = [
            float(model.train_on_batch(cells, labels))
            for cells, labels in _batches(train, side, batch, seed + epoch)
        ]
        # train_on_batch gives the running mean of the epoch so far.
        entry = {"epoch": epoch, "loss": losses[-1], "test_accuracy": accuracy(model, test)}
        model.reset_metrics()
        history.append(entry)
        report(entry)
    return Pretrained(model, tuple(history))


def _batches(data: LabelledImages, side: int, batch: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Mirrored at random and resized as cells are; the last, smaller batch is left out."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data.labels))
    whole = max(1, len(order) // batch) * batch
    for start in range(0, min(whole, len(order)), batch):
        chosen = order[start : start + batch]
        cells = network_inputs(list(data.images[chosen]), side).astype(np.float32)
        turned = rng.random(len(chosen)) < 0.5
        cells[turned] = cells[turned, :, ::-1]
        yield cells, data.labels[chosen]


def accuracy(model: Any, data: LabelledImages, batch: int = 256) -> float:
    """Share of pictures whose class has the highest logit."""
    side, hits = int(model.input.shape[1]), 0
    for start in range(0, len(data.labels), batch):
        cells = network_inputs(list(data.images[start : start + batch]), side)
        named = np.argmax(np.asarray(model(cells.astype(np.float32), training=False)), axis=1)
        hits += int((named == data.labels[start : start + batch]).sum())
    return hits / max(1, len(data.labels))
