"""Ridge bias: the closed form, and the λ that it chooses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coset import Table
from coset.errors import InputError
from coset.models.dot import DotModel, DotSettings
from coset.models.ridge import chosen, ridge_bias

USERS, ITEMS = 30, 50


def drawn(rows: int, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    users, items = draw.integers(0, USERS, rows), (draw.random(rows) ** 3 * ITEMS).astype(np.int64)
    score = 3 + draw.normal(0, 0.7, USERS)[users] + draw.normal(0, 0.5, ITEMS)[items]
    return users, items, score + draw.normal(0, noise, rows)


def test_it_is_the_minimum_of_the_penalised_squares() -> None:
    users, items, ratings = drawn(400)
    found = ridge_bias(users, items, ratings, (USERS, ITEMS), (3.0, 1.5), rounds=300)
    design = np.zeros((len(ratings), 1 + USERS + ITEMS))
    design[:, 0] = 1
    design[np.arange(400), 1 + users] = 1
    design[np.arange(400), 1 + USERS + items] = 1
    penalty = np.diag([0.0] + [3.0] * USERS + [1.5] * ITEMS)
    wanted = np.linalg.solve(design.T @ design + penalty, design.T @ ratings)
    np.testing.assert_allclose(np.concatenate([[found.mean], found.user, found.item]), wanted, atol=1e-9)


def test_ids_with_most_ratings_do_not_pull_the_mean() -> None:
    draw = np.random.default_rng(0)
    users = np.concatenate([np.zeros(3000, np.int64), draw.integers(1, 3000, 3000)])
    items, ratings = draw.integers(0, 40, 6000), np.where(users == 0, 4.5, 3.0) + draw.normal(0, 0.3, 6000)
    found = ridge_bias(users, items, ratings, (3000, 40), (4.0, 32.0))
    assert 3.0 < found.mean < 3.2  # that of all ratings is 3.75


def test_few_rounds_are_near_it() -> None:
    users, items, ratings = drawn(400)
    found = ridge_bias(users, items, ratings, (USERS, ITEMS), (3.0, 1.5))
    near = ridge_bias(users, items, ratings, (USERS, ITEMS), (3.0, 1.5))
    assert np.array_equal(found.predict(users, items), near.predict(users, items))
    for _ in range(3):
        user = np.bincount(users, ratings - found.mean - found.item[items], USERS) / (np.bincount(users) + 3.0)
        assert abs(user - found.user).max() < 5e-3


def test_an_id_without_ratings_has_no_bias() -> None:
    found = ridge_bias(np.array([0, 0]), np.array([1, 2]), np.array([5.0, 4.0]), (2, 4), (1.0, 1.0))
    assert found.user[1] == found.item[0] == found.item[3] == 0
    assert found.predict(np.array([1]), np.array([3])) == pytest.approx([4.5])


@pytest.mark.parametrize(("noise", "least", "most"), [(0.05, 0.0, 1.0), (2.0, 2.0, 1000.0)])
def test_the_more_noise_the_more_shrinkage(noise: float, least: float, most: float) -> None:
    users, items, ratings = drawn(3000, noise)
    penalties = chosen(users, items, ratings, (USERS, ITEMS))
    assert least <= min(penalties)
    assert max(penalties) <= most
    assert penalties == chosen(users, items, ratings, (USERS, ITEMS))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_hardly_any_ratings(rows: int) -> None:
    users, items, ratings = drawn(rows)
    assert all(of > 0 and np.log2(of) % 1 == 0 for of in chosen(users, items, ratings, (USERS, ITEMS)))


def test_the_search_has_no_edge_where_ids_do_not_differ() -> None:
    users, items, _ = drawn(3000)
    noise = np.random.default_rng(1).normal(0, 1, 3000)
    assert min(chosen(users, items, noise, (USERS, ITEMS))) > 128


def test_nor_where_ratings_have_no_noise() -> None:
    users, items, ratings = drawn(3000, noise=0.0)
    assert max(chosen(users, items, ratings, (USERS, ITEMS))) < 0.5


def model_of(**choices: object) -> DotModel:
    tables = [Table(name, n, 4, frequencies=np.arange(n)) for name, n in (("user", USERS), ("item", ITEMS))]
    settings = DotSettings(
        **({"embedding_dim": 4, "biases": True, "output": "linear", "low": 0.0, "high": 10.0} | choices)
    )  # type: ignore[arg-type]
    return DotModel(tables[0], tables[1], {}, settings, mean=1.0)


def test_a_model_begins_there() -> None:
    users, items, ratings = drawn(400)
    found = ridge_bias(users, items, ratings, (USERS, ITEMS), (3.0, 1.5))
    model = model_of(embedding_dim=0)
    model.begin(found)
    predicted = model.predict(torch.from_numpy(users), torch.from_numpy(items)).numpy()
    np.testing.assert_allclose(predicted, found.predict(users, items), atol=1e-5)


def test_vectors_of_rare_ids_begin_short() -> None:
    torch.manual_seed(0)
    plain, model = model_of(), model_of()
    model.load_state_dict(plain.state_dict())
    model.begin(ridge_bias(*drawn(400), (USERS, ITEMS), (3.0, 1.5)), ridge=4.0)
    for name, n in (("user", USERS), ("item", ITEMS)):
        assert plain.embeddings is not None
        assert model.embeddings is not None
        counts = torch.arange(n)
        wanted = plain.embeddings.tables[name].materialize() * (counts / (counts + 4.0)).unsqueeze(-1)
        torch.testing.assert_close(model.embeddings.tables[name].materialize(), wanted)


@pytest.mark.parametrize("choices", [{"biases": False}, {"output": "sigmoid"}], ids=str)
def test_not_every_model_can(choices: dict[str, object]) -> None:
    found = ridge_bias(*drawn(40), (USERS, ITEMS), (3.0, 1.5))
    with pytest.raises(InputError, match="one of biases with output 'linear', and this model is none"):
        model_of(**choices).begin(found)


def test_rarity_is_one_over_the_rows_of_an_id() -> None:
    found = model_of().rarity
    assert found.shape == (2, ITEMS)
    assert found[0, :4].tolist() == pytest.approx([1, 1, 1 / 2, 1 / 3])
    assert found[0, USERS:].tolist() == [1] * (ITEMS - USERS)
    with pytest.raises(InputError, match="table 'user': a ridge needs frequencies, and it has none"):
        _ = DotModel(Table("user", 3, 4), Table("item", 3, 4), {}, DotSettings(4, low=0.0, high=1.0)).rarity
