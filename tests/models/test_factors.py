"""Factors find what is there, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np

from coset.models.factors import Factors, factors

USERS, ITEMS, ROWS = 120, 90, 6000


def drawn(dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Users, items, products of planted vectors, and these with noise of deviation 1."""
    source = np.random.default_rng(seed)
    users, items = source.integers(0, USERS, ROWS), source.integers(0, ITEMS, ROWS)
    left, right = source.normal(size=(USERS, dims)), source.normal(size=(ITEMS, dims))
    true = (left[users] * right[items]).sum(1)
    return users, items, true, true + source.normal(size=ROWS)


def found(dims: int, most: int = 6) -> tuple[Factors, np.ndarray, np.ndarray]:
    """The model, the pairs of ids that it was learned from, and their planted products."""
    users, items, true, seen = drawn(dims)
    return factors(users, items, seen, (USERS, ITEMS), most), np.stack([users, items], axis=1), true


def test_planted_vectors_are_found_and_no_dim_more() -> None:
    model, pairs, true = found(dims=2)
    told = model.products(pairs[:, 0], pairs[:, 1])
    assert np.square(told.sum(1) - true).mean() < 0.15 * np.square(true).mean()
    assert (np.square(told).mean(0)[2:] < 0.03 * np.square(told).mean(0)[0]).all()
    assert 0.85 < model.noise < 1.1


def test_noise_teaches_nothing() -> None:
    model, pairs, _ = found(dims=0)
    assert np.square(model.products(pairs[:, 0], pairs[:, 1]).sum(1)).mean() < 0.02


def test_dims_fall_and_are_uncorrelated() -> None:
    model, pairs, _ = found(dims=3)
    many = np.bincount(pairs[:, 0], minlength=USERS)
    second = model.user.T @ (model.user * many[:, None]) / many.sum()
    np.testing.assert_allclose(second, np.diag(np.diag(second)), atol=1e-4)
    sizes = np.square(model.products(pairs[:, 0], pairs[:, 1])).mean(0)
    assert (np.diff(sizes[:3]) < 0).all()


def test_ids_without_rows_have_no_vector_and_the_same_seed_gives_the_same_bits() -> None:
    users, items, _, seen = drawn(dims=1)
    one, two = (factors(users, items, seen, (USERS + 1, ITEMS + 2), 2) for _ in range(2))
    assert not one.user[-1].any()
    assert not one.item[-2:].any()
    assert one.user.tobytes() == two.user.tobytes()
    assert one.noise == two.noise
