"""Plans: reading, editing and checking them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coset.errors import InputError
from coset.methods.full import Full
from coset.methods.hashing import Hashing
from coset.methods.low_rank import LowRank
from coset.methods.robe import Robe
from coset.methods.tensor_train import TensorTrain
from coset.planning.plan import PLAN_SCHEMA, Alternative, Choice, Plan
from coset.schema import Table

USER, MOVIE = Table("user", 100, 8), Table("movie", 50, 8)
TABLES = [USER, MOVIE]
PLAN = Plan(
    8,
    4000,
    {
        "user": Choice(100, LowRank(4), 1728, 0.125, "few rows", Alternative(Hashing(50), 1600, 0.25)),
        "movie": Choice(50, Full(), 1600, 0.0, "full"),
    },
    bytes=3328,
    loss=0.125,
)


def test_json_and_back(tmp_path: Path) -> None:
    assert Plan.from_json(json.loads(json.dumps(PLAN.to_json()))) == PLAN
    PLAN.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == PLAN
    text = (tmp_path / "plan.json").read_text()
    assert list(json.loads(text))[:4] == ["schema", "embedding_dim", "budget", "bytes"]
    assert text.count("\n") > 20  # lines, so that two plans can be compared


def test_a_plan_that_fits_stays_as_it_is() -> None:
    PLAN.check(TABLES)
    assert PLAN.fitted(TABLES) == PLAN
    assert PLAN.methods == {"user": LowRank(4), "movie": Full()}


def test_reasons_without_the_method_that_they_are_about_are_dropped() -> None:
    said = PLAN.to_json()
    for of in said["tables"].values():
        del of["digest"]
    assert {of.why for of in Plan.from_json(said).fitted(TABLES).tables.values()} == {"chosen by hand"}
    for of in said["tables"].values():
        of["digest"] = None
    assert {of.why for of in Plan.from_json(said).fitted(TABLES).tables.values()} == {"chosen by hand"}
    assert PLAN.fitted(TABLES).tables["user"].why == "few rows"
    said["tables"]["user"]["digest"] = 0
    with pytest.raises(InputError, match="digest must be of type str, not 0"):
        Plan.from_json(said)


def test_state_is_not_counted_of_what_kernels_do_not_train() -> None:
    plan = Plan(8, 0, {"user": Choice(100, TensorTrain(2)), "movie": Choice(50, Full())}, optimizer="adagrad")
    with pytest.raises(InputError, match="adagrad only trains methods that compose rows, which tensor_train does"):
        plan.fitted(TABLES)


def test_a_table_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    full = '{"method": "full"}'
    (tmp_path / "plan.json").write_text(f'{{"embedding_dim": 8, "tables": {{"user": {full}, "user": {full}}}}}')
    with pytest.raises(InputError, match=r"plan\.json.*'user' occurs twice"):
        Plan.load(tmp_path / "plan.json")


def test_written_by_hand() -> None:
    """The dim and the methods are enough."""
    plan = Plan.from_json(
        {
            "embedding_dim": 8,
            "tables": {"user": {"method": "full"}, "movie": {"method": {"method": "hashing", "num_buckets": 5}}},
        }
    )
    plan = plan.fitted(TABLES, other_bytes=10)
    assert (plan.bytes, plan.tables["user"].bytes, plan.tables["movie"].num_embeddings) == (3200 + 160 + 10, 3200, 50)
    assert plan.budget == 0
    assert plan.fitted(TABLES) == plan


def test_an_edited_table_is_worked_out_anew_and_others_keep_their_reasons() -> None:
    given = PLAN.to_json()
    given["tables"]["movie"]["method"] = {"method": "low_rank", "rank": 2}
    plan = Plan.from_json(given).fitted(TABLES)
    assert plan.tables["user"] == PLAN.tables["user"]
    assert plan.tables["movie"] == Choice(50, LowRank(2), 4 * (100 + 16), why="chosen by hand")
    assert plan.bytes == 1728 + 4 * 116
    assert plan.loss is None  # as that of one table is not known


def test_reasons_are_of_the_method_and_not_of_its_bytes() -> None:
    given = PLAN.to_json()
    given["tables"]["user"]["bytes"] = 5
    assert Plan.from_json(given).fitted(TABLES) == PLAN
    given["tables"]["user"]["method"] = {"method": "hashing", "num_buckets": 54}  # of as many bytes
    edited = Plan.from_json(given).fitted(TABLES).tables["user"]
    assert edited == Choice(100, Hashing(54), 1728, why="chosen by hand")


def test_an_edit_over_the_budget_is_refused() -> None:
    given = PLAN.to_json()
    given["tables"]["user"]["method"] = {"method": "full"}
    with pytest.raises(InputError, match=r"4.8KB \(4800 bytes\), 800 bytes over its budget of 4KB; .*'user'"):
        Plan.from_json(given).check(TABLES)


def test_biases_alone_over_the_budget_are_refused() -> None:
    with pytest.raises(InputError, match=r"200 bytes\), 100 bytes over its budget of 100B$"):
        Plan(0, 100, {}, bytes=200).fitted([], 200)


def test_state_of_the_optimizer_counts() -> None:
    given = PLAN.to_json() | {"optimizer": "adagrad", "budget": "1MB"}
    plan = Plan.from_json(given).fitted(TABLES)
    assert plan.optimizer_bytes == 1728 + 1600
    assert plan.bytes == 2 * (1728 + 1600)
    with pytest.raises(InputError, match="over its budget"):
        Plan.from_json(given | {"budget": 5000}).check(TABLES)


def test_a_shared_array_counts_once() -> None:
    plan = Plan(8, 0, {name: Choice(0, Robe(100, 4, array="one")) for name in ("user", "movie")}).fitted(TABLES)
    assert (plan.bytes, plan.tables["user"].bytes, plan.tables["movie"].bytes) == (400, 400, 0)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([USER], r"'movie'.*the plan has it and the model does not"),
        ([USER, MOVIE, Table("year", 5, 8)], r"'year'.*the model has it and the plan does not"),
        ([Table("user", 101, 8), MOVIE], r"'user'.*100 ids and the table has 101"),
        ([USER, Table("movie", 50, 16)], r"'movie'.*embedding_dim 8 and the table 16"),
        ([USER, MOVIE, MOVIE], r"'movie'.*several tables"),
    ],
)
def test_tables_that_the_plan_is_not_for(tables, said: str) -> None:
    with pytest.raises(InputError, match=said):
        PLAN.check(tables)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"method": "low_rank", "rank": 9}, r"'user'.*rank 9 exceeds"),
        ({"method": "attribute_partitions"}, r"'user'.*needs attributes"),
    ],
)
def test_methods_that_do_not_fit(method, said: str) -> None:
    given = PLAN.to_json()
    given["tables"]["user"]["method"] = method
    with pytest.raises(InputError, match=said):
        Plan.from_json(given).check(TABLES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": PLAN_SCHEMA + 1}, "update coset"),
        ({"schema": "one"}, "schema must be 1"),
        ({"budget": "3 parsecs"}, "unknown unit 'parsecs'"),
        ({"budget": -1}, "'?-1'?"),
        ({"embedding_dim": -1}, "embedding_dim must be at least 0"),
        ({"embedding_dim": 0}, "biases alone, without tables"),
        ({"embedding_dim": "wide"}, "embedding_dim must be of type int"),
        ({"tables": {}}, "names no table"),
        ({"tables": [1]}, "tables must be a table"),
        ({"tables": {"user": 3}}, "'user' needs a method"),
        ({"tables": {"user": {"method": "low_rnk"}}}, "'user'.*did you mean 'low_rank'"),
        ({"tables": {"user": {"method": "full", "byts": 3}}}, "'user'.*did you mean 'bytes'"),
        ({"optimizer": "adagrd"}, "did you mean 'adagrad'"),
        ({"lose": 3}, "did you mean 'loss'"),
    ],
)
def test_what_no_plan_says(changes, said: str, tmp_path: Path) -> None:
    given = PLAN.to_json() | changes
    with pytest.raises(InputError, match=said):
        Plan.from_json(given)
    (tmp_path / "p.json").write_text(json.dumps(given))
    with pytest.raises(InputError, match=r"p\.json: "):
        Plan.load(tmp_path / "p.json")


def test_not_a_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Plan.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="expected a table"):
        Plan.from_json([1])
