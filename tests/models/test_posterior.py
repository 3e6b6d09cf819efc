"""Biases and vectors in closed form find what is there, and say how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coset.errors import InputError
from coset.models.posterior import Posterior, Ratings, posterior

USERS, ITEMS, ROWS = 120, 90, 6000


def drawn(dims: int, seed: int = 0, noise: float = 0.5) -> tuple[Ratings, np.ndarray]:
    """Ratings about 3 of planted biases and vectors, and what they were before noise."""
    source = np.random.default_rng(seed)
    users = np.sort((USERS * source.random(ROWS) ** 1.5).astype(np.int64))
    items = source.integers(0, ITEMS, ROWS)
    left, right = source.normal(size=(USERS, dims)), source.normal(size=(ITEMS, dims))
    mine, theirs = 0.5 * source.normal(size=USERS), 0.7 * source.normal(size=ITEMS)
    true = 3 + mine[users] + theirs[items] + (left[users] * right[items]).sum(1)
    return Ratings(users, items, true + noise * source.normal(size=ROWS), (USERS, ITEMS)), true


@pytest.fixture(scope="module")
def found() -> tuple[Ratings, np.ndarray, Posterior]:
    ratings, true = drawn(dims=2)
    return ratings, true, posterior(ratings, dims=3)


def test_planted_biases_and_vectors_are_found(found: tuple[Ratings, np.ndarray, Posterior]) -> None:
    ratings, true, model = found
    error = np.square(model.predict(ratings.users, ratings.items) - true).mean()
    assert error < 0.03
    assert model.noise == pytest.approx(0.25, rel=0.15)
    assert model.mean == pytest.approx(ratings.values.mean())


def test_errors_of_predictions_are_as_large_as_is_said(found: tuple[Ratings, np.ndarray, Posterior]) -> None:
    ratings, true, model = found
    user, item = torch.from_numpy(ratings.users), torch.from_numpy(ratings.items)
    ones = torch.ones(ROWS, 1, dtype=torch.float64)
    by_user = torch.cat([model.item.vectors[item], ones], 1)
    by_item = torch.cat([model.user.vectors[user], ones], 1)
    said = torch.einsum("ni,nij,nj->n", by_user, model.user.spread[user], by_user)
    said += torch.einsum("ni,nij,nj->n", by_item, model.item.spread[item], by_item)
    measured = np.square(model.predict(ratings.users, ratings.items) - true)
    assert 0.5 * float(said.mean()) < measured.mean() < 2 * float(said.mean())
    few = model.user.counts[user].numpy() < 25
    assert measured[few].mean() > 1.5 * measured[~few].mean()


def test_a_dim_too_many_stays_small(found: tuple[Ratings, np.ndarray, Posterior]) -> None:
    model = found[2].turned()
    sizes = model.user.vectors.square().mean(0) * model.item.vectors.square().mean(0)
    assert sizes[2] < 0.01 * sizes[0]


def test_the_turn_keeps_predictions_and_uncertainty(found: tuple[Ratings, np.ndarray, Posterior]) -> None:
    ratings, _, model = found
    turned = model.turned()
    np.testing.assert_allclose(
        turned.predict(ratings.users, ratings.items), model.predict(ratings.users, ratings.items), atol=1e-9
    )
    learned = [torch.logdet(of.user.spread @ of.user.prior) for of in (turned, model)]
    torch.testing.assert_close(*learned)
    one = (turned.user.expected[:, :-1] @ turned.item.vectors.T)[:, :5]
    torch.testing.assert_close(one, (model.user.expected[:, :-1] @ model.item.vectors.T)[:, :5])


def test_ids_that_few_rate_are_expected_to_be_like_others_that_few_rate() -> None:
    """Where the popular items are the good ones, an item without ratings is expected to be bad."""
    source = np.random.default_rng(3)
    counts = np.maximum(1, 400 // (1 + np.arange(ITEMS)))
    counts[-1] = 0
    items = np.repeat(np.arange(ITEMS), counts)
    users = source.integers(0, USERS, len(items))
    values = 3 + 0.01 * counts[items].clip(max=100) + 0.1 * source.normal(size=len(items))
    sizes = USERS, ITEMS
    model = posterior(Ratings(users, items, values, sizes), dims=1)
    alike = posterior(Ratings(users, items, values, sizes), dims=1, groups=1)
    new = np.array([ITEMS - 1])
    assert abs(model.predict(np.array([5]), new)[0] - 3) < 0.7 * abs(alike.predict(np.array([5]), new)[0] - 3)


def test_the_same_seed_gives_the_same_bits() -> None:
    ratings, _ = drawn(dims=1)
    one, two = (posterior(ratings, dims=2, seed=4, rounds=3) for _ in range(2))
    assert torch.equal(one.user.means, two.user.means)
    assert torch.equal(one.item.spread, two.item.spread)
    assert one.noise == two.noise


def test_no_dims() -> None:
    with pytest.raises(InputError, match="at least 1 dim, not 0"):
        posterior(drawn(1)[0], dims=0)
