"""Augmented batches, prepared by a thread while the network computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from edge_malaria.training.classifier.augment import augment
from edge_malaria.training.classifier.recipe import Examples, Floats, Recipe


class OwnBatches(Protocol):
    """Examples that say themselves what a batch is (``pool.PooledExamples``)."""

    def __len__(self) -> int:
        """Cells of an epoch."""
        ...

    def batches(self, recipe: Recipe, epoch: int) -> Iterator[tuple[Floats, Floats]]:
        """See ``feed.batches``."""
        ...


def batches(
    examples: Examples | OwnBatches, recipe: Recipe, epoch: int
) -> Iterator[tuple[Floats, Floats]]:
    """Augmented batches of one epoch: (float32 [B, S, S, 3], targets float32 [B, 1]).

    A thread prepares them ahead; order and content depend on (seed, epoch) only.
    """
    ready: queue.Queue[tuple[Floats, Floats] | BaseException | None] = queue.Queue(maxsize=6)
    stop = threading.Event()

    def produce() -> None:
        try:
            for item in _source(examples, recipe, epoch):
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    worker = threading.Thread(target=produce, daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        worker.join(timeout=5.0)


def _source(
    examples: Examples | OwnBatches, recipe: Recipe, epoch: int
) -> Iterator[tuple[Floats, Floats]]:
    if isinstance(examples, Examples):
        return _plain_batches(examples, recipe, epoch)
    return examples.batches(recipe, epoch)


def _plain_batches(
    examples: Examples, recipe: Recipe, epoch: int
) -> Iterator[tuple[Floats, Floats]]:
    rng = np.random.default_rng([recipe.seed, epoch])
    order = rng.permutation(len(examples))
    # Whole batches only: batch norm dislikes a last one of three cells.
    whole = max(1, len(order) // recipe.batch) * recipe.batch
    for start in range(0, min(whole, len(order)), recipe.batch):
        chosen = order[start : start + recipe.batch]
        cells = examples.renderings[0][chosen]
        if len(examples.renderings) > 1:
            other = np.flatnonzero(rng.random(len(chosen)) < recipe.other_renderings)
            which = rng.integers(1, len(examples.renderings), len(other))
            for place, rendering in zip(other, which, strict=True):
                cells[place] = examples.renderings[rendering][chosen[place]]
        yield augment(cells, rng, recipe.augmentation), examples.targets[chosen][:, None]
