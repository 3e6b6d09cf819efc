"""A model of ratings, rounded: levels of few bits, better ones than the nearest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from coset.errors import InputError
from coset.models.posterior import Posterior, Ratings, posterior
from coset.models.rounding import Blocks4, Rounded, bits_for, bytes_of, rounded
from coset.planning.numbers import BitBlocks
from coset.storage.levels import Levels, least_squares_steps

USERS, ITEMS = 150, 100


def drawn() -> tuple[Ratings, Ratings]:
    """Ratings of ids in order of popularity, and others of the same ids."""
    source = np.random.default_rng(0)
    left, right = source.normal(size=(USERS, 3)), source.normal(size=(ITEMS, 3)) * (1.0, 0.6, 0.3)
    mine, theirs = 0.4 * source.normal(size=USERS), 0.6 * source.normal(size=ITEMS)

    def some(rows: int) -> Ratings:
        users = (USERS * source.random(rows) ** 2).astype(np.int64)
        items = (ITEMS * source.random(rows) ** 2).astype(np.int64)
        told = 3 + mine[users] + theirs[items] + (left[users] * right[items]).sum(1)
        return Ratings(users, items, told + 0.8 * source.normal(size=rows), (USERS, ITEMS))

    return some(8000), some(8000)


@pytest.fixture(scope="module")
def learned() -> tuple[Ratings, Ratings, Posterior]:
    ratings, others = drawn()
    return ratings, others, posterior(ratings, dims=3).turned()


def error(model: Posterior | Rounded, on: Ratings) -> float:
    return float(np.square(model.predict(on.users, on.items) - on.values).mean())


def arrays(rounding: Rounded) -> list[Tensor]:
    return [getattr(rounding, name) for name in Blocks4._fields]


def test_numbers_are_levels_of_the_blocks_bits(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, _, model = learned
    blocks = bits_for(model, 500)
    found = rounded(ratings, model, blocks)
    for numbers, steps, array in zip(arrays(found), found.steps, blocks, strict=True):
        ends = [0, *array.bounds, len(numbers)]
        assert steps.shape == (len(array.bits), numbers.shape[1])
        assert torch.equal(steps, steps.half().double())
        for (begin, end), bits, own in zip(pairwise(ends), array.bits, steps, strict=True):
            for column, each in enumerate(bits):
                part = numbers[begin:end, column : column + 1]
                if not each:
                    assert not part.any()
                    assert own[column] == 0
                    continue
                levels, step = Levels([each]), own[column : column + 1]
                torch.testing.assert_close(levels.values(levels.codes(part, step), step), part)


def test_errors_are_those_of_the_bytes(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, others, model = learned
    found = {}
    for budget in (250, 500, 4000):
        blocks = bits_for(model, budget, most_bits=8)
        assert bytes_of(blocks) <= budget
        found[budget] = error(rounded(ratings, model, blocks), others)
    assert found[250] > found[500] > found[4000]
    assert found[4000] == pytest.approx(error(model, others), rel=0.01)


def nearest(model: Posterior, blocks: Blocks4) -> list[Tensor]:
    """Every number at its nearest level, with the steps that suit that best."""
    sides = [model.user.vectors, model.item.vectors, model.user.biases[:, None], model.item.biases[:, None]]
    found = []
    for numbers, counts, array in zip(sides, [model.user.counts, model.item.counts] * 2, blocks, strict=True):
        near = torch.zeros_like(numbers)
        for (begin, end), bits in zip(pairwise([0, *array.bounds, len(numbers)]), array.bits, strict=True):
            for column, each in enumerate(bits):
                if each:
                    part, levels = numbers[begin:end, column : column + 1], Levels([each])
                    step = least_squares_steps(part, levels, (0,), counts[begin:end] + 1)
                    near[begin:end, column] = levels.values(levels.codes(part, step), step)[:, 0]
        found.append(near)
    return found


@pytest.mark.parametrize("budget", [300, 400])
def test_ratings_are_told_better_than_by_the_nearest_levels(
    learned: tuple[Ratings, Ratings, Posterior], budget: int
) -> None:
    ratings, others, model = learned
    blocks = bits_for(model, budget)
    user, item, user_biases, item_biases = nearest(model, blocks)
    plain = Rounded(user, item, user_biases, item_biases, (user,) * 4, model.mean)
    found = rounded(ratings, model, blocks)
    assert error(found, ratings) < error(plain, ratings)
    assert error(found, others) < 1.02 * error(plain, others)


def test_trust_keeps_predictions_and_leaves_noise(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, others, model = learned
    blocks = bits_for(model, 300)
    before = others._replace(values=model.predict(others.users, others.items))
    trusting, doubting = (rounded(ratings, model, blocks, trust=trust) for trust in (20.0, 0.0))
    assert error(trusting, before) < error(doubting, before)
    assert error(trusting, others) < error(doubting, others)
    assert error(trusting, ratings) > error(doubting, ratings)


def test_steps_are_what_can_be_stored(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, _, model = learned
    found = rounded(ratings, model, bits_for(model, 400), sweeps=1, storable=lambda steps: 2 ** steps.log2().round())
    for steps in found.steps:
        known = steps[steps > 0]
        assert torch.equal(known.log2(), known.log2().round())


def test_the_same_ratings_give_the_same_bits(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, _, model = learned
    one, two = (rounded(ratings, model, bits_for(model, 300), sweeps=1) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(arrays(one), arrays(two), strict=True))


def test_nothing_stored_is_the_mean(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, others, model = learned
    found = rounded(ratings, model, bits_for(model, 0))
    assert (found.predict(others.users, others.items) == model.mean).all()


@pytest.mark.parametrize(
    ("user", "says"),
    [
        (BitBlocks((USERS,), ((1, 1, 1), (1, 1, 1)), 0, 0.0), "do not fit 150 ids"),
        (BitBlocks((), ((1, 1, 1), (1, 1, 1)), 0, 0.0), "do not fit 150 ids"),
        (BitBlocks((), ((1, 1),), 0, 0.0), "bits of 2 columns for an array of 3"),
    ],
)
def test_blocks_of_another_model(learned: tuple[Ratings, Ratings, Posterior], user: BitBlocks, says: str) -> None:
    ratings, _, model = learned
    with pytest.raises(InputError, match=says):
        rounded(ratings, model, bits_for(model, 300)._replace(user=user))


def test_no_sweeps_and_no_trust(learned: tuple[Ratings, Ratings, Posterior]) -> None:
    ratings, _, model = learned
    with pytest.raises(InputError, match="trust must be 0 or more, not -1"):
        rounded(ratings, model, bits_for(model, 300), trust=-1)
    with pytest.raises(InputError, match="at least 1 sweep, not 0"):
        rounded(ratings, model, bits_for(model, 300), sweeps=0)
