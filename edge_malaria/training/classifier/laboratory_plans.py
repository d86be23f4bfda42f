"""How each network is fine-tuned on other laboratories' cells: rounds, steps, who teaches it."""

from __future__ import annotations

import dataclasses

from edge_malaria.training.classifier.recipe import Recipe
from edge_malaria.training.quantization.quantize_aware import RANGE_PERCENTILE

# Cells of each of ``pool.PARTS`` in a batch.
BATCH = (96, 44, 20, 24)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one model is fine-tuned.

    Attributes:
        arch: architecture, or ``residual``.
        rounds: of the float stage; ``batch`` counts home cells. The first draws its hard negatives
            by what the shipped network says, the others by what the network itself says when a
            pass is first read.
        cross_recipe: of the networks that leave patients out, from random weights and by labels
            alone: the shipped network has seen all of these patients.
        share: of the way from the weights before to the fitted ones, at which the result lies.
        fine_tune_epochs: passes with rounding; 0 observes the ranges of int8 alone.
        fine_tune_rate: peak learning rate of the float stage, of which they have a tenth; 0 for
            that of the last round.
        drawn: drawn cells in each of their batches (``drawn_cells``); where there are any, the
            last pass is kept, not the best one at home.
        range_percentile: of the activations that int8 holds (``quantize_aware``).
        cross_parts: groups of folds left out in turn.
        flagged_views: whether flagged cells are asked again in eight views.
        start: the model whose weights before it starts from, and which it would replace; "" for
            random weights.
        turned: whether cells of the pool are turned and flipped anew in every pass.
        distilled_from: the plan of a network whose opinion has ``Recipe.teacher_share`` of the
            targets; "" for none.
        second: the plan of the network that is asked about possible cells; "" for none.
        second_from: calibrated probability from which on it is asked.
    """

    arch: str
    rounds: tuple[Recipe, ...]
    cross_recipe: Recipe
    share: float = 0.8
    fine_tune_epochs: int = 2
    fine_tune_rate: float = 0.0
    drawn: int = 0
    range_percentile: float = RANGE_PERCENTILE
    cross_parts: int = 3
    flagged_views: bool = True
    start: str = ""
    turned: bool = False
    distilled_from: str = ""
    second: str = ""
    second_from: float = 0.3

    @property
    def rounding(self) -> Recipe:
        """What ``session.fine_tuning`` makes the recipe of the passes with rounding from."""
        last = self.rounds[-1]
        rate = self.fine_tune_rate or last.learning_rate
        return dataclasses.replace(last, learning_rate=rate)


def _recipe(epochs: int, rate: float, seed: int = 0, decay: float = 1e-4) -> Recipe:
    return Recipe(
        epochs=epochs,
        batch=BATCH[0],
        learning_rate=rate,
        weight_decay=decay,
        label_smoothing=0.0,
        teacher_share=0.5,
        patience=epochs,
        seed=seed,
    )


PLANS = {
    # What ships: docs/LABORATORIES.md, "How it works".
    "default": Plan(
        "compact",
        (_recipe(3, 3e-4), _recipe(4, 3e-4, 7)),
        _recipe(8, 3e-3),
        flagged_views=False,
        start="default",
        second="second",
    ),
    "second": Plan(
        "residual",
        (_recipe(4, 2e-3, 1, decay=0.02), _recipe(6, 2e-3, 8, decay=0.02)),
        _recipe(8, 2e-3, 1, decay=0.02),
        # So large a network loses little in int8, but for its largest activations: they are those
        # of the surest parasites.
        fine_tune_epochs=0,
        range_percentile=100.0,
        flagged_views=False,
        turned=True,
    ),
    # So small a network learns from the second one's opinion, and loses much to 8 bits: it needs a
    # higher rate and drawn cells in the passes with rounding.
    "micro": Plan(
        "micro",
        (_recipe(3, 2e-3, decay=0.01), _recipe(4, 2e-3, 7, decay=0.01)),
        _recipe(8, 3e-3),
        share=1.0,
        fine_tune_epochs=10,
        fine_tune_rate=5e-3,
        drawn=24,
        flagged_views=False,
        start="micro",
        turned=True,
        distilled_from="second",
    ),
    # What follows was tried and does not ship: docs/LABORATORIES.md.
    "default-distilled": Plan(
        "compact",
        (_recipe(3, 2e-3, decay=0.01), _recipe(3, 2e-3, 7, decay=0.01)),
        _recipe(8, 3e-3),
        share=1.0,
        start="default",
        turned=True,
        distilled_from="second",
    ),
}
