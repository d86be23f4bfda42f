"""How each architecture of the literature was trained by those who published it.

Papers that come from ImageNet give settings for ImageNet: they stand here as they are, on this
data. What a paper leaves open is chosen here, and ``chosen_here`` names it. ``train --recipe own``,
``crossval --protocol study`` and ``benchmarks.literature`` all read this table.

Cells are shown as they are, without augmentation, as the studies of the NIH cells did; the papers'
augmentations are made for photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_malaria.training.classifier.study_plan import Fall, StudyPlan


@dataclass(frozen=True)
class Protocol:
    """One architecture's training.

    Attributes:
        plan: how it is trained.
        source: where that stands.
        chosen_here: what the source leaves open; empty for nothing.
    """

    plan: StudyPlan
    source: str
    chosen_here: str = ""


def _descent(
    epochs: int, batch: int, rate: float, fall: Fall, decay: float, *, nesterov: bool = False
) -> StudyPlan:
    """Descent with momentum .9 to the last pass, as the ImageNet papers train."""
    return StudyPlan(
        epochs=epochs,
        batch=batch,
        patience=epochs,
        learning_rate=rate,
        momentum=0.9,
        nesterov=nesterov,
        weight_decay=decay,
        fall=fall,
    )


_OF_STUDIES = "studies of the NIH cells: Adam, early stopping"
_STALLED = Fall(0.1, 5, when_stalled=True)

PUBLISHED: Mapping[str, Protocol] = {
    "sequential3": Protocol(StudyPlan(), "the study that this project grew from"),
    "fast50": Protocol(StudyPlan(batch=64), _OF_STUDIES, "batch"),
    "lenet5": Protocol(
        StudyPlan(batch=32), _OF_STUDIES, "all: the second-order method of 1998 is not used today"
    ),
    "liang16": Protocol(
        StudyPlan(batch=32), _OF_STUDIES, "all: the paper's settings are not known here"
    ),
    "alexnet": Protocol(
        _descent(90, 128, 0.01, _STALLED, 5e-4),
        "Krizhevsky et al., NeurIPS 2012, section 5",
        "passes without progress before the rate falls",
    ),
    "vgg16": Protocol(
        _descent(74, 256, 0.01, _STALLED, 5e-4),
        "Simonyan, Zisserman, arXiv 1409.1556, section 3.1",
        "passes without progress before the rate falls",
    ),
    "googlenet": Protocol(
        _descent(90, 32, 0.01, Fall(0.96, 8), 2e-4),
        "Szegedy et al., arXiv 1409.4842, section 6",
        "batch, first rate, weight decay and number of passes",
    ),
    "resnet50": Protocol(
        _descent(120, 256, 0.1, _STALLED, 1e-4),
        "He et al., arXiv 1512.03385, section 3.4",
        "passes without progress before the rate falls",
    ),
    "densenet121": Protocol(
        _descent(90, 256, 0.1, Fall(0.1, 30), 1e-4, nesterov=True),
        "Huang et al., arXiv 1608.06993, section 4.2",
    ),
    "xception": Protocol(
        _descent(90, 32, 0.045, Fall(0.94, 2), 1e-5),
        "Chollet, arXiv 1610.02357, section 4.3",
        "batch and number of passes",
    ),
    "senet": Protocol(
        _descent(100, 256, 0.1, Fall(0.1, 30), 1e-4),
        "Hu et al., arXiv 1709.01507: its rate of .6 for batches of 1024",
        "batch of 256, and the rate for it",
    ),
}


def published(arch: str) -> Protocol | None:
    """The protocol of a registered architecture; None for this project's own networks."""
    return PUBLISHED.get(arch)
