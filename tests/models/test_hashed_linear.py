"""Logistic regression by hashing."""

from __future__ import annotations

import numpy as np
import pytest

from coset.errors import InputError
from coset.models.hashed_linear import HashedLinear, HashedRows, LinearChoice, hashed
from coset.partitions.hashes import hash_words

ROWS = 3000


def drawn(bits: int = 12, seed: int = 0) -> tuple[HashedRows, np.ndarray]:
    """Rows by a linear law of two features and a number, and their true logits."""
    draw = np.random.default_rng(seed)
    ids, numeric = draw.integers(0, 20, (2, ROWS)), draw.normal(size=(ROWS, 1))
    effects = np.random.default_rng(9).normal(size=(2, 20))
    logits = effects[0, ids[0]] + effects[1, ids[1]] + numeric[:, 0] - 1
    return hashed((draw.random(ROWS) < 1 / (1 + np.exp(-logits))).astype(float), numeric, ids, [], bits), logits


def fitted(rows: HashedRows, choice: LinearChoice, epochs: int = 4) -> HashedLinear:
    model = HashedLinear(12, 1, rows.labels.mean(), choice)
    for _ in range(epochs):
        model.fit(rows.batches(64))
    return model


def loss(model: HashedLinear, rows: HashedRows) -> float:
    logits = model.logits(rows)
    return float((np.logaddexp(0, logits) - rows.labels * logits).mean())


def test_it_learns_a_linear_law() -> None:
    known, _ = drawn()
    later, truth = drawn(seed=1)
    model = fitted(known, LinearChoice(alpha=0.3, l2=1.0), epochs=6)
    best = float((np.logaddexp(0, truth) - later.labels * truth).mean())
    assert best < loss(model, later) < best + 0.02


def test_it_begins_at_the_base_rate() -> None:
    rows, _ = drawn()
    np.testing.assert_allclose(1 / (1 + np.exp(-HashedLinear(12, 1, 0.3).logits(rows))), 0.3)


def test_a_step_is_that_of_the_paper() -> None:
    """One weight, one row a batch: against the formulas of FTRL-Proximal, written out."""
    alpha, l2 = 0.5, 2.0
    model = HashedLinear(4, 0, 0.5, LinearChoice(alpha, l2))
    z = n = dense_z = dense_n = 0.0
    for label in (1.0, 0.0, 1.0, 1.0):
        weight, intercept = (-a / ((1 + b**0.5) / alpha + l2) for a, b in ((z, n), (dense_z, dense_n)))
        rows = hashed(np.array([label]), np.zeros((1, 0)), np.array([[3]]), [], 4)
        assert model.logits(rows)[0] == pytest.approx(weight + intercept)
        gradient = 1 / (1 + np.exp(-weight - intercept)) - label
        z += gradient - ((n + gradient**2) ** 0.5 - n**0.5) / alpha * weight
        dense_z += gradient - ((dense_n + gradient**2) ** 0.5 - dense_n**0.5) / alpha * intercept
        n, dense_n = n + gradient**2, dense_n + gradient**2
        model.fit([rows])


def test_more_penalty_moves_rare_ids_less() -> None:
    rows, _ = drawn()
    spread = [float(np.std(fitted(rows, LinearChoice(0.1, l2)).logits(rows))) for l2 in (0.0, 10.0, 1000.0)]
    assert spread[0] > spread[1] > 2 * spread[2]


def test_lists_count_each_of_their_ids() -> None:
    items, begins = np.array([5, 6, 6]), np.array([0, 0, 1])
    rows = hashed(np.zeros(3), np.zeros((3, 0)), np.array([[1, 2, 3]]), [(items, begins)], 10)
    assert rows.ends.tolist() == [1, 3, 6]
    assert rows.rows.tolist() == [0, 1, 1, 2, 2, 2]
    assert rows.buckets[[2, 4, 5]].tolist() == [int(hash_words(of, 1)) & 1023 for of in (5, 6, 6)]
    assert [(len(of), of.ends.tolist(), of.buckets.tolist()) for of in rows.batches(2)] == [
        (2, [1, 3], rows.buckets[:3].tolist()),
        (1, [3], rows.buckets[3:].tolist()),
    ]


def test_the_same_id_of_two_features_has_two_buckets() -> None:
    rows = hashed(np.zeros(1), np.zeros((1, 0)), np.array([[7], [7]]), [], 20)
    assert rows.buckets[0] != rows.buckets[1]


def test_a_model_stores_what_its_components_say() -> None:
    assert [(of.key, of.bytes) for of in HashedLinear(10, 3, 0.5).components()] == [
        ("weights", 4096), ("numeric", 12), ("intercept", 4),
    ]  # fmt: skip
    assert [of.key for of in HashedLinear(10, 0, 0.5).components()] == ["weights", "intercept"]


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": float("nan")}, {"l2": -1.0}, {"epochs": 0}])
def test_wrong_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        LinearChoice(**wrong)  # type: ignore[arg-type]


def test_wrong_sizes_and_rates() -> None:
    with pytest.raises(InputError, match="bits"):
        HashedLinear(0, 1, 0.5)
    with pytest.raises(InputError, match="between 0 and 1"):
        HashedLinear(4, 1, 1.0)
