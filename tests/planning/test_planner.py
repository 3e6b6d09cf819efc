"""The planner: budgets, floors, and that it prefers what the evidence does."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coset.errors import InfeasibleBudget, InputError
from coset.ledger import components_of, inference_bytes, table_optimizer_bytes
from coset.methods import registered
from coset.methods.full import Full
from coset.planning.curves import Curve, Point, fit_curves
from coset.planning.plan import Plan
from coset.planning.planner import methods_within, plan, predicted_losses
from coset.planning.proxy import Proxy
from coset.schema import Table
from coset.sizes import format_size
from coset.tables import EmbeddingCollection


def zipf(name: str, n: int, dim: int = 16, rows: int = 100_000, skew: float = 1.0) -> Table:
    share = 1 / np.arange(1, n + 1) ** skew
    return Table(name, n, dim, frequencies=np.round(rows * share / share.sum()) + (np.arange(n) == 0))


sizes = st.one_of(st.integers(1, 12), st.integers(13, 3000))
some_tables = st.lists(st.tuples(sizes, st.sampled_from([0.0, 0.7, 1.0, 1.5])), min_size=1, max_size=3)


def built(plan: Plan, tables) -> int:
    """Bytes of the real tables."""
    wide = [table.of_dim(plan.embedding_dim) for table in tables]
    return inference_bytes(components_of(EmbeddingCollection([(table, plan.methods[table.name]) for table in wide])))


@settings(max_examples=1000 if os.environ.get("COSET_EVERY_EXAMPLE") else 100, deadline=None)
@given(
    some_tables, st.sampled_from([1, 3, 4, 8, 16]), st.floats(0, 1.1), st.sampled_from([0, 1000]),
    st.sampled_from([None, "adagrad", "row_wise_adagrad"]), st.integers(0, 50),
)  # fmt: skip
def test_a_plan_is_within_its_budget_and_as_large_as_what_is_built(
    shapes, dim: int, share: float, other: int, optimizer, build: int
) -> None:
    tables = [zipf(f"t{at}", n, dim, skew=skew) for at, (n, skew) in enumerate(shapes)]
    budget = other + int(share * sum(table.full_bytes for table in tables))
    try:
        found = plan(tables, budget, other_bytes=other, optimizer=optimizer, sizes=6)
    except InfeasibleBudget as error:
        floor = error.floor
        found = plan(tables, floor, other_bytes=other, optimizer=optimizer, sizes=6)
        assert found.bytes == floor > budget
        budget = floor
    assert found.bytes <= budget
    assert set(found.tables) == {table.name for table in tables}
    wide = [table.of_dim(found.embedding_dim) for table in tables]
    components = [one for table in wide for one in found.methods[table.name].components(table)]
    state = table_optimizer_bytes(components, optimizer) if optimizer else 0
    assert found.bytes == inference_bytes(components) + state + other
    assert found.optimizer_bytes == state
    assert found.loss == pytest.approx(sum(choice.loss for choice in found.tables.values()), abs=1e-5)
    assert found.fitted(wide) == found
    if build == 0:  # what is predicted equals what is stored in any case; a few are enough
        assert built(found, tables) == inference_bytes(components)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.05, 0.01])
def test_real_tables_take_what_the_plan_says(share: float) -> None:
    tables = [zipf("user", 5000), zipf("movie", 900, skew=0.6), zipf("day", 7)]
    found = plan(tables, int(share * sum(table.full_bytes for table in tables)))
    assert built(found, tables) == found.bytes


def test_one_byte_below_the_floor() -> None:
    tables = [zipf("user", 5000), zipf("movie", 900)]
    with pytest.raises(InfeasibleBudget, match=r"'(user|movie)'.*budget is 10 bytes") as caught:
        plan(tables, 10)
    assert plan(tables, caught.value.floor).bytes == caught.value.floor
    with pytest.raises(InfeasibleBudget) as again:
        plan(tables, caught.value.floor - 1)
    assert again.value.floor == caught.value.floor
    with pytest.raises(InfeasibleBudget, match="5000 of them beside the tables") as more:
        plan(tables, 10, other_bytes=5000)
    assert more.value.floor == caught.value.floor + 5000


def test_more_bytes_lose_less() -> None:
    tables = [zipf("user", 5000), zipf("movie", 900, skew=0.6), zipf("day", 7)]
    full = sum(table.full_bytes for table in tables)
    losses = [plan(tables, full // part, embedding_dims=[16]).loss for part in (1, 2, 4, 8, 16, 32, 64)]
    assert losses == sorted(losses)
    assert losses[-1] > 5 * losses[0]


def test_a_share_is_of_all_that_a_budget_bounds() -> None:
    tables = [zipf("user", 2000), zipf("movie", 1000)]
    full = 4 * 16 * 3000 + 1000
    for share in ("50%", 0.5):
        found = plan(tables, share, other_bytes=1000, sizes=6)
        assert found.budget == full // 2
    assert plan(tables, "100%", other_bytes=lambda dim: 1000, optimizer="row_wise_adagrad").budget == full + 12_000


def test_tables_that_keep_their_dims() -> None:
    """Together, where all dims are alike, that is a plan at this dim; else each method is of its table's own."""
    alike = [zipf("user", 2000), zipf("day", 3)]
    assert methods_within(alike, 50_000, together=True) == plan(alike, 50_000, embedding_dims=[16]).methods
    kept = {table.name: methods_within(alike, 50_000)[table.name].bytes(table) for table in alike}
    assert 45_000 < sum(kept.values()) <= 50_000  # however little three days can tell of a user
    tables = [zipf("rows", 3000, 16), zipf("narrow", 500, 4), zipf("bias", 3000, 1)]
    for budget in (30_000, 100_000):
        found = methods_within(tables, budget, 2000)
        assert sum(found[table.name].bytes(table) for table in tables) + 2000 <= budget
    with pytest.raises(InfeasibleBudget, match="the smallest plan for these tables takes") as caught:
        methods_within(tables, 2001, 2000)
    assert caught.value.floor > 2000


def test_small_tables_stay_full_and_say_why() -> None:
    tables = [zipf("user", 500_000), zipf("day", 7), zipf("country", 200)]
    found = plan(tables, "2MB")
    assert found.tables["day"].method == found.tables["country"].method == Full()
    assert found.tables["day"].why.startswith(
        "is a full table of dim 16, 448B; every id has a row of its own; the next"
    )
    user = found.tables["user"]
    assert user.bytes < 2_000_000
    assert user.why.startswith(f"takes {format_size(user.bytes)}, where a full table of dim ")
    assert user.instead is not None
    assert user.instead.method.name != user.method.name
    assert user.instead.bytes <= 2_000_000
    assert user.instead.loss >= user.loss
    assert f"; the next best, {user.instead.method.name} in {format_size(user.instead.bytes)}, is pred" in user.why


def test_ids_that_were_never_seen_get_one_row() -> None:
    counts = np.r_[np.full(1000, 50.0), np.zeros(99_000)]
    found = plan([Table("user", 100_000, 8, frequencies=counts), zipf("day", 7, 8)], "64KB", embedding_dims=[8])
    assert found.tables["user"].bytes <= 1030 * 8 * 4
    assert found.loss < 0.01


@pytest.mark.parametrize("ordered", [True, False])
def test_order_of_ids_matters_only_to_what_follows_it(ordered: bool) -> None:
    """Ids that are not in order of popularity get no hot blocks; the plan is within its budget all the same."""
    table = zipf("user", 20_000)
    counts = table.frequencies if ordered else np.random.default_rng(0).permutation(table.frequencies)
    found = plan([Table("user", 20_000, 16, frequencies=counts), zipf("day", 7)], "100KB", embedding_dims=[16])
    assert found.bytes <= 100_000
    assert ordered == (found.tables["user"].method.name in ("blocks", "mixed_dimension"))


@pytest.mark.parametrize("name", sorted(registered()))
def test_every_method_can_be_planned_with(name: str) -> None:
    """Alone beside full tables; those that fit no such table leave them full."""
    tables = [zipf("user", 2000), zipf("movie", 300)]
    found = (
        plan(tables, 80_000, methods=[name], embedding_dims=[16, 8, 2])
        if name != "full"
        else plan(tables, 80_000, methods=[name], embedding_dims=[2])
    )
    assert found.bytes <= 80_000
    assert {choice.method.name for choice in found.tables.values()} <= {name, "full"}


def test_fixed_fields() -> None:
    tables = [zipf("user", 2000), zipf("movie", 300)]
    asked = {"method": "quotient_remainder", "operation": "add"}
    found = plan(tables, 40_000, methods=[asked], embedding_dims=[16])
    for choice in found.tables.values():
        assert choice.method == Full() or choice.method.operation == "add"


def test_arrays_that_tables_share_are_left_out() -> None:
    tables = [zipf("user", 2000), zipf("movie", 300)]
    with pytest.raises(InfeasibleBudget):
        plan(tables, 40_000, methods=[{"method": "robe", "array": "one"}], embedding_dims=[16])


def test_other_bytes_may_follow_the_dim() -> None:
    tables = [zipf("user", 2000), zipf("movie", 300)]
    found = plan(tables, 60_000, other_bytes=lambda dim: 1000 * dim)
    assert found.other_bytes == 1000 * found.embedding_dim
    assert found.bytes <= 60_000


def test_measured_curves_move_bytes_to_the_table_that_needs_them() -> None:
    tables = [zipf("user", 2000), zipf("item", 2000)]
    even = plan(tables, 60_000, embedding_dims=[16])
    moved = plan(tables, 60_000, embedding_dims=[16], curves={"user": Curve(1.0), "item": Curve(0.01)})
    assert moved.tables["user"].bytes > 1.3 * even.tables["user"].bytes
    assert moved.bytes <= 60_000


def test_curves_are_read_where_they_were_fitted() -> None:
    """What the planner says of its choice is the curve at what is predicted of that choice."""
    tables, curves = [zipf("user", 2000), zipf("item", 500)], {"user": Curve(0.3, 0.5), "item": Curve(0.1, 2.0)}
    found = plan(tables, 60_000, embedding_dims=[16], curves=curves)
    predicted = predicted_losses(tables, found.methods)
    for name, choice in found.tables.items():
        assert choice.loss == pytest.approx(curves[name](predicted[name]), rel=1e-5)


@pytest.mark.parametrize(
    ("fixed", "said"),
    [
        ({"method": "quotient_remainder", "operaton": "add"}, "did you mean 'operation'"),
        ({"method": "quotient_remainder", "operation": "bogus"}, "must be one of"),
        ({"method": "full", "x": 1}, "unknown field of method 'full' 'x'"),
    ],
)
def test_mistyped_fields_of_allowed_methods_are_told_of(fixed, said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan([zipf("user", 2000)], 60_000, methods=[fixed])


def test_points_of_trainings_become_curves() -> None:
    tables = [zipf("user", 2000), zipf("item", 500)]
    points = {}
    for table in tables:
        smaller = plan(tables, 60_000, embedding_dims=[16]).methods[table.name]
        full, predicted = predicted_losses(tables, {}), predicted_losses(tables, {table.name: smaller})
        assert [name for name in predicted if predicted[name] > full[name] + 1e-12] in ([table.name], [])
        points[table.name] = [Point(predicted[table.name] + 1e-6, 0.02)]
    found = plan(tables, 60_000, embedding_dims=[16], curves=fit_curves(points))
    assert found.bytes <= 60_000


def test_the_same_plan_every_time() -> None:
    tables = [zipf("user", 5000), zipf("movie", 900, skew=0.6), zipf("day", 7)]
    assert plan(tables, "50KB").to_json() == plan(tables, "50KB").to_json()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget": "3 parsecs"}, "unknown unit"),
        ({"budget": -5}, "size -5"),
        ({"methods": ["low_rnk"]}, "did you mean 'low_rank'"),
        ({"methods": [{"rank": 3}]}, "a method to plan with"),
        ({"embedding_dims": []}, "embedding_dims"),
        ({"embedding_dims": [0]}, "embedding_dims"),
        ({"embedding_dims": 8}, "embedding_dims must be a list"),
        ({"sizes": "many"}, "sizes must be a whole number"),
        ({"methods": "low_rank"}, "methods must be a list of names"),
        ({"methods": [Full()]}, "methods must be a list of names"),
        ({"other_bytes": "1KB"}, "other_bytes must be a whole number"),
        ({"proxy": 3}, "proxy must be a Proxy, not 3"),
        ({"curves": {"user": 3, "movie": 3}}, "'user': its curve must be a Curve"),
        ({"tables": [zipf("user", 5), Table("movie", 3, 16, frequencies=[0.2, 0.5, 0.3])]}, "'movie'.*sum to 1; give"),
        ({"tables": [zipf("user", 5), Table("movie", 3, 16, frequencies=[1e308] * 3)]}, "'movie'.*sum to inf; give"),
        ({"tables": [zipf("user", 5), Table("movie", 3, 16, frequencies=[5e-324] * 3)]}, "'movie'.*; give counts"),
        ({"methods": ["tensor_train"], "optimizer": "row_wise_adagrad"}, "'user': row_wise_adagrad only trains"),
        ({"optimizer": "adagrd"}, "did you mean 'adagrad'"),
        ({"curves": {"user": Curve(1.0)}}, "'movie'.*no measured curve"),
        ({"proxy": None, "tables": []}, "at least one table"),
        ({"tables": [zipf("user", 5), Table("movie", 10, 16)]}, "'movie'.*no frequencies"),
        ({"tables": [Table("movie", 3, 16, frequencies=[0, 0, 0])]}, "'movie'.*all zero"),
        ({"tables": [zipf("user", 5), zipf("user", 5)]}, "'user'.*several tables"),
        ({"tables": zipf("user", 5)}, "a list of coset.Table"),
        ({"tables": ["user"]}, "a list of coset.Table"),
    ],
)
def test_bad_input(given, said: str) -> None:
    choices = {"tables": [zipf("user", 50), zipf("movie", 10)], "budget": "1MB"} | given
    with pytest.raises(InputError, match=said):
        plan(choices.pop("tables"), choices.pop("budget"), **choices)


@pytest.mark.parametrize("changes", [{"decay": 0.0}, {"noise": -1.0}, {"complement": 2.0}])
def test_bad_constants(changes) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        Proxy(**changes)


CRITEO = """
import time
import numpy as np
from coset.data.clicks import CRITEO_KAGGLE_CARDINALITIES
from coset.planning.planner import plan
from coset.schema import Table
from coset.training.folder import peak_resident_bytes  # not what the process before had, as getrusage may tell

def counts(n):
    return (39_000_000 / np.log1p(n) / np.arange(1, n + 1)).astype(np.int32)

tables = [Table(f"C{at}", n, 16, frequencies=counts(n)) for at, n in enumerate(CRITEO_KAGGLE_CARDINALITIES, 1)]
plan(tables[:3], "1MB")  # what is imported and compiled once
seconds, sums = [], []
for _ in range(3):
    begun = time.process_time()
    found = plan(tables, "36MB")
    seconds.append(time.process_time() - begun)
    begun = time.process_time()
    for table in tables:
        np.cumsum(table.frequencies, dtype=np.float64)
    sums.append(time.process_time() - begun)
    if min(seconds) < 8 * min(sums):
        break  # only a moment when other work slows this down needs another try
print(min(seconds), min(sums), peak_resident_bytes(), found.bytes)
"""


def test_criteo_is_planned_in_a_few_passes_over_its_counts_and_a_gigabyte() -> None:
    """33,762,577 ids in 26 tables. What other work on the machine slows down is measured beside it: running sums of all
    counts, of which eight take about two seconds where nothing else runs."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # those that wait for others would count too
    run = subprocess.run(
        [sys.executable, "-c", CRITEO], capture_output=True, text=True, check=True, timeout=280,
        env=os.environ | threads,
    )  # fmt: skip
    seconds, sums, peak, size = map(float, run.stdout.split())
    assert size <= 36_000_000
    assert seconds < 8 * sums
    assert peak < 1e9
