"""A second network is asked about possible cells: it is larger, and its answer decides.

Where a bundle says ``second`` (``decision`` in bundle.json), a cell whose first answer reaches the
probability ``from`` (a possible cell) is shown to the second network, and what that says decides
in place of the first answer. All other cells keep the first answer, so a slide costs little more.

The second network lies in the bundle as a bundle of its own, in the folder ``second``: with its
files, goldens, gate and calibration. It takes the same inputs. Its answer is brought to the scale
of the first network's logits, so that one temperature, one bias and one set of thresholds serve
both: z = (logit + bias) / temperature with its own calibration, then z x temperature - bias with
the first one's, in float64, rounded once to float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_malaria.bundle.decision import DecisionRecord
from edge_malaria.bundle.spec import Bundle, ModelSpec
from edge_malaria.records import Image
from edge_malaria.runtime.engines.base import Engine
from edge_malaria.runtime.engines.opening import open_engine


def on_first_scale(
    logits: NDArray[np.float32], own: DecisionRecord, first: DecisionRecord
) -> NDArray[np.float32]:
    """The second network's logits as the first network would have to say the same.

    Args:
        logits: float32 [N], the second network's.
        own: its calibration.
        first: the first network's.

    Returns:
        float32 [N]: ``first``'s calibration gives them the probability that ``own`` gives
        ``logits``.
    """
    z = (logits.astype(np.float64) + own.bias) / own.temperature
    return (z * first.temperature - first.bias).astype(np.float32)


class SecondNetwork:
    """The second network on an engine.

    Args:
        engine: runs it.
        spec: of it.
        first: of the network that is asked before it.
    """

    def __init__(self, engine: Engine, spec: ModelSpec, first: ModelSpec) -> None:
        self.engine = engine
        self._own, self._first = spec.decision, first.decision

    def logits(self, batch: Image) -> NDArray[np.float32]:
        """uint8 [N, S, S, 3] -> float32 [N] on the scale of the first network's logits."""
        answers = self.engine.run(batch).reshape(len(batch))
        return on_first_scale(answers, self._own, self._first)


def open_second(bundle: Bundle, variant: str, engine: str, threads: int) -> SecondNetwork | None:
    """The second network of a bundle for a variant of the first; None where it has none.

    Raises:
        BundleSchemaError: it lacks that variant.
        BundleIntegrityError: its file cannot be loaded.
    """
    second, file = bundle.second, bundle.second_file(variant, engine)
    if second is None or file is None:
        return None
    opened = open_engine(second.read(file.file), engine, threads)
    return SecondNetwork(opened, second.classifier, bundle.classifier)
