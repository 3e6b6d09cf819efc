"""The predicted loss: its formula on small cases, and its agreement with what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coset.data.synthetic import synthetic_ratings
from coset.methods import from_json, method
from coset.methods.full import Full
from coset.methods.traffic import Traffic
from coset.planning.proxy import DIMS, Kept, Proxy, losses
from coset.schema import Table

RESULTS = Path(__file__).parents[2] / "recipes" / "results"
PROXY = Proxy()


def kept(how, table: Table, tables: int = 2) -> Kept:
    return PROXY.judge(Traffic.of(table), tables).kept(how, table, how.descriptor(table))


def by_hand(table: Table, width: int, own=1.0, tables: int = 2) -> np.ndarray:
    """Σ p · π · s over ids, as written in the formula."""
    counts = np.asarray(table.frequencies, dtype=float)
    spectrum = (1 + np.arange(DIMS) / PROXY.reach) ** -PROXY.decay
    met = counts[:, None] * spectrum
    learned = met / (met + max(PROXY.rows, PROXY.noise * tables))
    learned[:, min(width, len(counts)) :] = 0
    return (counts * own / counts.sum()) @ learned


USER = Table("user", 6, 8, frequencies=[40, 30, 20, 10, 5, 1])


def test_the_formula_on_six_ids() -> None:
    counts = np.asarray(USER.frequencies, dtype=float)
    np.testing.assert_allclose(kept(Full(), USER).dims, by_hand(USER, 8))
    np.testing.assert_allclose(kept(method("low_rank", rank=2), USER).dims, by_hand(USER, 2))
    pairs = counts / (counts + np.roll(counts, 3))
    hashing = kept(method("hashing", num_buckets=3), USER)
    np.testing.assert_allclose(hashing.dims, by_hand(USER, 8, pairs))
    assert hashing.alone == pytest.approx(counts @ pairs / counts.sum())
    halves = counts / np.repeat([90.0, 16.0], 3)
    both = 1 - (1 - pairs) * (1 - halves) ** PROXY.complement
    np.testing.assert_allclose(kept(method("quotient_remainder", num_buckets=3), USER).dims, by_hand(USER, 8, both))
    concat = kept(method("quotient_remainder", num_buckets=3, operation="concat"), USER).dims
    np.testing.assert_allclose(concat[:4], by_hand(USER, 8, pairs)[:4])
    np.testing.assert_allclose(concat[4:6], by_hand(USER, 8, halves)[4:6])


def test_blocks_add_up() -> None:
    table = Table("user", 6, 2, frequencies=USER.frequencies)
    blocks = method("blocks", bounds=(2,), methods=({"method": "full"}, {"method": "hashing", "num_buckets": 1}))
    own = np.array([1, 1, 20 / 36, 10 / 36, 5 / 36, 1 / 36])
    np.testing.assert_allclose(kept(blocks, table).dims, by_hand(table, 2, own))


def test_a_method_without_a_composition_is_a_narrow_table_of_its_worth() -> None:
    robe = method("robe", size=24)
    width = robe.worth * 24 / 6
    np.testing.assert_allclose(kept(robe, USER).dims, kept(Full(), USER).dims * np.clip(width - np.arange(DIMS), 0, 1))


def test_no_more_than_all_traffic_is_an_ids_own() -> None:
    """However wide the narrow table is that a method is taken for; of one of less than an element an id, a share."""
    worth = method("robe", size=1).worth
    found = [kept(method("robe", size=int(width * 6 / worth)), USER).alone for width in (0.5, 1, 2, 8)]
    assert found == pytest.approx([0.5, 1, 1, 1])


def test_parts_of_the_loss_sum_to_the_whole() -> None:
    draws = np.random.default_rng(0)
    names = ("user", "movie", "day")
    whole = {name: np.sort(draws.random(DIMS))[::-1] for name in names}
    some = {name: one * draws.random(DIMS) for name, one in whole.items()}

    def worth(of) -> float:
        pairs = [(one, two) for one in names for two in names if one != two]
        return float(np.mean([PROXY.spectrum @ (of[one] * of[two]) for one, two in pairs]))

    found = losses(some, whole, PROXY.spectrum)
    assert sum(found.values()) == pytest.approx(1 - worth(some) / worth(whole))
    assert losses(whole, whole, PROXY.spectrum) == dict.fromkeys(names, 0.0)
    alone = losses({"user": some["user"]}, {"user": whole["user"]}, PROXY.spectrum)
    assert alone["user"] == pytest.approx(1 - PROXY.spectrum @ some["user"] / (PROXY.spectrum @ whole["user"]))


def test_prediction_ranks_the_committed_frontier() -> None:
    """On a twin of MovieLens-1M, whose frequencies are near enough, rows are in nearly the order that was measured."""
    ratings = synthetic_ratings()
    sizes = {"user": 6040, "movie": 3706}
    columns = {"user": ratings.users, "movie": ratings.items}
    counts = {name: 0.85 * np.sort(np.unique(ids, return_counts=True)[1])[::-1] for name, ids in columns.items()}
    rows = json.loads((RESULTS / "ml-1m-frontier" / "results.json").read_text())["rows"]
    found = []
    for row in (row for row in rows if row["embedding_dim"]):
        tables = [Table(name, n, row["embedding_dim"], frequencies=counts[name]) for name, n in sizes.items()]
        judges = {table.name: PROXY.judge(Traffic.of(table), 2) for table in tables}
        methods = {name: from_json(given) for name, given in row["methods"].items()}
        each = {t.name: judges[t.name].kept(methods[t.name], t, methods[t.name].descriptor(t)).dims for t in tables}
        loss = sum(losses(each, {name: one.unlimited for name, one in judges.items()}, PROXY.spectrum).values())
        found.append((loss, row["metrics"]["val_mse"]["mean"]))
    predicted, measured = np.array(found).T
    slope, base = np.polyfit(predicted, measured, 1)
    assert np.sqrt(np.mean(np.square(measured - base - slope * predicted))) < 0.006
    ranks = [np.argsort(np.argsort(column)) for column in (predicted, measured)]
    assert np.corrcoef(ranks)[0, 1] > 0.97
