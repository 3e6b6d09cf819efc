"""Choices among candidates, against trying all of them under the loss that they are judged by."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from coset.errors import InfeasibleBudget
from coset.ledger import table_optimizer_bytes
from coset.methods.full import Full
from coset.methods.low_rank import LowRank
from coset.methods.traffic import Traffic
from coset.planning.candidates import Candidate, candidates, classes, within
from coset.planning.curves import Curve
from coset.planning.planner import Planner, plan
from coset.planning.proxy import Proxy, losses
from coset.schema import Table

PROXY = Proxy()


def zipf(name: str, n: int, skew: float, rows: int, dim: int = 16) -> Table:
    share = 1 / np.arange(1, n + 1) ** skew
    return Table(name, n, dim, frequencies=np.round(rows * share / share.sum()) + (np.arange(n) == 0))


def offered(tables, budget: int, methods, sizes: int, optimizer=None) -> dict[str, list[Candidate]]:
    allowed = classes(methods)
    return {
        table.name: within(
            candidates(
                table, traffic := Traffic.of(table), PROXY.judge(traffic, len(tables)), allowed, optimizer, sizes
            ),
            budget,
        )
        for table in tables
    }


def least_loss(tables, budget: int, methods, sizes: int) -> float:
    """Of all choices within the budget: 1 - worth / worth of full ones, the worth being the mean of all pairs."""
    found = offered(tables, budget, methods, sizes).values()
    weights = reduce(np.add.outer, [np.array([one.weight for one in every]) for every in found])
    dims = [np.stack([one.kept.dims for one in every]) for every in found]
    whole = [PROXY.judge(Traffic.of(table), len(tables)).unlimited for table in tables]
    worth, best = np.zeros(weights.shape), 0.0
    for second in range(len(tables)):
        for first in range(second):
            pair = (dims[first] * PROXY.spectrum) @ dims[second].T
            worth += np.expand_dims(pair, [at for at in range(len(tables)) if at not in (first, second)])
            best += float((whole[first] * PROXY.spectrum) @ whole[second])
    return float((1 - worth / best)[weights <= budget].min())


@pytest.mark.parametrize(
    ("shapes", "share", "methods"),
    [  # number of ids, skew and training rows of each table; in some a single round or beginning is not enough
        ([(898, 0.0, 10_000), (1882, 0.5, 10_000)], 0.2, None),
        ([(550, 0.5, 10_000), (1748, 0.0, 10_000)], 0.4, None),
        ([(1745, 1.5, 10_000), (2170, 1.0, 10_000)], 0.05, None),
        ([(1389, 1.0, 100_000), (702, 1.0, 100_000)], 0.2, None),
        ([(997, 0.5, 100_000), (2673, 0.0, 100_000)], 0.2, ["low_rank"]),
        ([(1194, 1.0, 100_000), (2575, 0.0, 100_000)], 0.2, ["hashing"]),
        ([(1200, 1.0, 50_000), (700, 0.5, 50_000), (300, 0.0, 50_000)], 0.2, ["low_rank", "hashing"]),
        ([(1200, 1.0, 50_000), (700, 0.5, 50_000), (300, 0.0, 50_000)], 0.1, ["low_rank", "hashing"]),
    ],
)
def test_a_plan_loses_no_more_than_the_best_of_all_choices(shapes, share: float, methods) -> None:
    tables = [zipf(f"t{at}", *shape) for at, shape in enumerate(shapes)]
    budget = int(share * sum(table.full_bytes for table in tables))
    found = plan(tables, budget, methods=methods, embedding_dims=[16], sizes=12)
    assert found.loss == pytest.approx(least_loss(tables, budget, methods, 12), rel=1e-4)


@pytest.mark.parametrize("optimizer", [None, "adagrad"])
@pytest.mark.parametrize("share", [0.4, 0.1, 0.03])
def test_the_alternative_is_the_best_other_method_that_has_room(share: float, optimizer) -> None:
    tables = [zipf("user", 2000, 1.0, 50_000), zipf("movie", 500, 0.5, 50_000)]
    budget = int(share * sum(table.full_bytes for table in tables))
    found = plan(tables, budget, embedding_dims=[16], sizes=12, optimizer=optimizer)
    whole = {table.name: PROXY.judge(Traffic.of(table), 2).unlimited for table in tables}
    every = offered(tables, budget, None, 12, optimizer)
    chosen = {name: next(one for one in every[name] if one.method == found.methods[name]) for name in every}
    for (name, other), table in zip((("user", "movie"), ("movie", "user")), tables, strict=True):
        room = budget - chosen[other].weight
        beside = {other: chosen[other].kept.dims}
        possible = {
            one.method: losses({name: one.kept.dims} | beside, whole, PROXY.spectrum)[name]
            for one in every[name]
            if one.weight <= room and one.method.name != chosen[name].method.name
        }
        instead = found.tables[name].instead
        assert instead is not None
        assert instead.loss == pytest.approx(min(possible.values()), rel=1e-5, abs=1e-8)
        assert instead.loss == pytest.approx(possible[instead.method], rel=1e-5, abs=1e-8)
        components = instead.method.components(table)
        state = table_optimizer_bytes(components, optimizer) if optimizer else 0
        assert instead.bytes + state <= room


@pytest.mark.parametrize("budget", [20_000, 60_000, 150_000])
def test_the_model_is_the_narrowest_that_loses_hardly_more(budget: int) -> None:
    """A hundredth more, at most."""
    tables = [zipf("user", 3000, 1.0, 50_000, 32), zipf("movie", 800, 0.5, 50_000, 32)]
    alone = {dim: plan(tables, budget, embedding_dims=[dim], sizes=12).loss for dim in (32, 16, 8, 4)}
    found = plan(tables, budget, sizes=12)
    assert found.embedding_dim == min(dim for dim, loss in alone.items() if loss <= 1.01 * min(alone.values()))
    assert found.loss == alone[found.embedding_dim]


def test_methods_of_several_vectors_an_id_are_another_model() -> None:
    table = zipf("user", 500, 1.0, 5000)
    one = {"method": "feature_generation", "moduli": (250, 2)}
    for allowed in ("feature_generation", one):
        assert [of.method for of in offered([table], 10**9, [allowed], 12)["user"]] == [Full()]
        with pytest.raises(InfeasibleBudget):
            plan([table], table.full_bytes - 1, methods=[allowed], embedding_dims=[16])


def test_fields_that_do_not_fit_one_table_are_for_the_others() -> None:
    tables = [zipf("user", 2000, 1.0, 50_000), zipf("day", 7, 0.0, 50_000)]
    found = plan(tables, 40_000, methods=[{"method": "quotient_remainder", "num_buckets": 500}], embedding_dims=[16])
    assert found.tables["day"].method == Full()
    assert found.tables["user"].method.num_buckets == 500
    asked = {"method": "low_rank", "rank": 9}
    assert [of.method for of in offered(tables, 10**9, [asked], 12)["user"]] == [Full(), LowRank(9)]
    narrow = [table.of_dim(8) for table in tables]
    assert [of.method for of in offered(narrow, 10**9, [asked], 12)["user"]] == [Full()]


def test_plans_that_share_what_they_are_made_of_are_the_same_in_any_order() -> None:
    tables = [zipf("user", 2000, 1.0, 50_000), zipf("movie", 700, 0.5, 50_000)]
    curves = {"user": Curve(0.5), "movie": Curve(0.1, 2.0)}
    asked = [(budget, of) for budget in ("5%", "60%") for of in (None, curves)]
    wanted = [plan(tables, budget, curves=of) for budget, of in asked]
    planner = Planner(tables)
    assert [planner.plan(budget, of) for budget, of in asked] == wanted
    assert [planner.plan(budget, of) for budget, of in reversed(asked)] == wanted[::-1]
