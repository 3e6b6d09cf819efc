"""The constant and the ridge bias model."""

from __future__ import annotations

import numpy as np
import pytest

from coset.data.long_tail import floors, long_tail_ratings
from coset.data.settings import DataSettings
from coset.models.ridge import chosen, ridge_bias
from coset.tasks.ratings import RatingsTask
from coset.tasks.ratings.baselines import baselines

DATA = long_tail_ratings()
TASK = RatingsTask(DataSettings(""))
ENCODED = TASK.encoded(DATA, 0)


def test_their_scores_are_those_of_their_predictions() -> None:
    constant, ridge = baselines(ENCODED)
    users, items, ratings = (of.numpy() for of in (ENCODED.users, ENCODED.items, ENCODED.targets))
    known, later = ENCODED.split.training, ENCODED.split.validation
    mean = ratings[known].mean(dtype=np.float64)
    assert constant.metrics["val_mse"] == pytest.approx(np.square(ratings[later] - mean).mean(), rel=1e-6)
    assert constant.metrics["val_mae"] == pytest.approx(np.abs(ratings[later] - mean).mean(), rel=1e-6)
    assert (constant.parameters, constant.bytes) == (1, 4)
    sizes = ENCODED.user.num_embeddings, ENCODED.item.num_embeddings
    penalties = chosen(users[known], items[known], ratings[known], sizes)
    model = ridge_bias(users[known], items[known], ratings[known], sizes, penalties)
    gaps = model.predict(users[later], items[later]).clip(1, 5) - ratings[later]
    assert ridge.metrics["val_mse"] == pytest.approx(np.square(gaps).mean())
    assert ridge.parameters == 1 + sum(sizes)
    assert ridge.bytes == 4 * ridge.parameters


def test_on_an_additive_long_tail_ridge_bias_is_near_the_best_there_is() -> None:
    constant, ridge = (of.metrics["val_mse"] for of in baselines(ENCODED))
    floor = floors().best
    assert floor < ridge < floor + 0.3 * (constant - floor)


def test_penalties_that_are_given_are_taken() -> None:
    free, held = (baselines(ENCODED, penalties)[1].metrics["val_mse"] for penalties in ((), (1e9, 1e9)))
    assert held == pytest.approx(baselines(ENCODED)[0].metrics["val_mse"], abs=1e-4)
    assert free < held
