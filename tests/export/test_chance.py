"""Better than chance or not, and what few cells can show of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_malaria.errors import GateFailed
from edge_malaria.export.chance import ENOUGH, Calls, check_calls


def test_many_cells_refuse_what_cannot_be_right() -> None:
    truth = np.arange(400) % 2 == 1
    rng = np.random.default_rng(0)
    good = (np.where(truth, 2.0, -2.0) + rng.normal(0, 1, 400)).astype(np.float32)
    right = check_calls(good, truth, 0.0, "cells")
    assert right.auc > 0.9
    assert right.better_than_chance
    with pytest.raises(GateFailed, match=r"looks inverted: AUC 0.0"):
        check_calls(-good, truth, 0.0, "cells")
    with pytest.raises(GateFailed, match="same answer"):
        check_calls(np.full(400, 3.0, np.float32), truth, 0.0, "cells")
    with pytest.raises(GateFailed, match="same answer"):
        check_calls(np.where(truth, np.nan, good), truth, 0.0, "cells")
    # A sigmoid read as a logit: all of them lie above 0.
    with pytest.raises(GateFailed, match="every cell is called alike"):
        check_calls(1.0 / (1.0 + np.exp(-good)), truth, 0.0, "cells")
    with pytest.raises(GateFailed, match=r"chance|inverted"):
        check_calls(rng.normal(0, 1, 400).astype(np.float32), truth, 0.0, "cells")
    with pytest.raises(GateFailed, match="one class"):
        check_calls(good, np.ones(400, bool), 0.0, "cells")


@pytest.mark.parametrize(
    ("calls", "shown", "needed"),
    [
        ((3, 3, 3, 0), False, 4),  # three of each, all right: one chance in twenty
        ((4, 4, 4, 0), True, 4),
        ((5, 5, 4, 0), True, 5),
        ((8, 8, 6, 2), False, 12),
        ((30, 30, 16, 15), False, ENOUGH),
        ((300, 300, 300, 290), False, ENOUGH),  # no coin, and useless all the same
    ],
)
def test_an_exact_test_says_what_few_cells_show(
    calls: tuple[int, int, int, int], shown: bool, needed: int
) -> None:
    made = Calls("cells", *calls, 0.8)
    assert made.better_than_chance == shown
    assert made.needed == needed


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_turned_answers_are_never_shown_right(sick: int, well: int, seed: int) -> None:
    truth = np.arange(sick + well) < sick
    logits = np.where(truth, -1.0, 1.0) + np.random.default_rng(seed).uniform(-0.9, 0.9, len(truth))
    refused = ""
    try:
        calls = check_calls(logits.astype(np.float32), truth, 0.0, "cells")
    except GateFailed as error:
        refused = str(error)
    else:
        assert not calls.better_than_chance
    assert "inverted" in refused or min(sick, well) < 4
