"""What `inspect` says of data, against counts by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from coset.data import Attributes, Ratings, load_ratings
from coset.data.clicks import ClickData, ClickWriter
from coset.errors import InputError
from coset.experiments.inspect import inspect, inspection_table
from coset.experiments.inspect_clicks import clicks_inspection_table, inspect_clicks

# user 7 rates five times, user 8 twice, users 1 and 2 once
TINY = Ratings("tiny", [7, 7, 7, 7, 7, 8, 8, 1, 2], list("abcdeabab"), [1, 2, 3, 4, 5, 1, 1, 5, 5])


def test_by_hand() -> None:
    found = inspect(TINY, 4)
    assert found["rows"] == 9
    assert found["rating_range"] == [1.0, 5.0]
    assert found["rating_mean"] == 3.0
    assert found["rating_variance"] == pytest.approx(np.var([1, 2, 3, 4, 5, 1, 1, 5, 5]))
    assert found["ratings"] == [{"rating": float(r), "rows": n} for r, n in ((1, 3), (2, 1), (3, 1), (4, 1), (5, 3))]
    user, item = found["features"]
    assert (user["num_embeddings"], user["most"], user["median"], user["least"]) == (4, 5, 1.5, 1)
    assert user["histogram"] == [
        {"from": 1, "to": 1, "ids": 2, "traffic": pytest.approx(2 / 9)},
        {"from": 2, "to": 3, "ids": 1, "traffic": pytest.approx(2 / 9)},
        {"from": 4, "to": 7, "ids": 1, "traffic": pytest.approx(5 / 9)},
    ]
    assert user["traffic_of_top"]["50%"] == pytest.approx(7 / 9)
    assert item["num_embeddings"] == 5
    # 4 users of 4 floats of 4 bytes; Adam: two more arrays and a step
    assert user["bytes"] == {"table": 64, "table_and_sgd": 64, "table_and_adagrad": 132, "table_and_adam": 196}
    assert found["bytes"]["table"] == 64 + 80
    assert found["bytes"]["table_and_adam"] == 3 * (64 + 80) + 8


def test_attributes_are_counted() -> None:
    known = Attributes([1, 2, 7, 9], {"age": [20, 20, 30, 99], "name": list("abcd")}, "users")  # 8 is not listed
    found = inspect(replace(TINY, user_attributes=known), 4)
    assert [of["attributes"] for of in found["features"]] == [{"age": 3, "name": 4}, {}]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(inspection_table(found))
    assert "attributes of ids" in captured.get()
    with console.capture() as captured:
        console.print(inspection_table(inspect(TINY, 4)))
    assert "attributes of ids" not in captured.get()


def test_a_histogram_holds_every_id_and_all_traffic(small_csv: Path) -> None:
    for feature in inspect(load_ratings(small_csv), 64)["features"]:
        assert sum(group["ids"] for group in feature["histogram"]) == feature["num_embeddings"]
        assert sum(group["traffic"] for group in feature["histogram"]) == pytest.approx(1.0)
        shares = list(feature["traffic_of_top"].values())
        assert shares == sorted(shares)


def test_it_is_json_and_a_table(small_csv: Path) -> None:
    found = inspect(load_ratings(small_csv), 64)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(inspection_table(found))
    text = captured.get()
    assert "popularity of user ids" in text
    assert "popularity of item ids" in text
    assert "3,000 ratings" in text
    assert "SYNTHETIC" not in text
    with console.capture() as captured:
        console.print(inspection_table(found | {"synthetic": True}))
    assert "SYNTHETIC DATA" in captured.get()


def test_what_is_worth_a_word() -> None:
    assert (inspect(TINY, 4)["repeated"], inspect(TINY, 4)["notes"]) == (0, [])
    plays = Ratings("plays", [1, 1, 2, 3], ["a", "a", "b", "c"], [1, 4, 6, 350_000], left_out=2, files=("p-2", "p-10"))
    found = inspect(plays, 4)
    assert (found["repeated"], found["left_out"], found["files"]) == (1, 2, ["p-2", "p-10"])
    order, empty, again, counts = found["notes"]
    assert order == "read from 2 files, in this order: p-2, p-10"
    assert empty.startswith("2 rows without")
    assert again.startswith("1 row is of a user and item that came before")
    assert "logarithms" in counts
    assert "350000" in counts
    console = Console(width=200)
    with console.capture() as captured:
        console.print(inspection_table(found))
    for note in found["notes"]:
        assert note in captured.get()
    stars = Ratings("percent", [1, 1, 2, 3], ["a", "b", "b", "c"], [0, 40, 60, 100])
    assert inspect(stars, 4)["notes"] == []


def test_many_different_ratings_are_not_listed() -> None:
    many = Ratings("many", np.arange(100) % 3, np.arange(100) % 7, np.arange(100) / 10)
    assert inspect(many, 4)["ratings"] is None


def test_a_dim_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="embedding_dim"):
        inspect(TINY, 0)


def test_a_click_log_without_features_costs_nothing(tmp_path: Path) -> None:
    """It can be prepared, so it can be looked at; its tables are none."""
    with ClickWriter(tmp_path, "numbers", ("price",), []) as writer:
        writer.append("training", [0, 1], [[1.0], [2.0]], [])
        writer.append("validation", [0], [[1.0]], [])
    found = inspect_clicks(ClickData.open(tmp_path), 4)
    assert (found["rows"], found["features"]) == (3, [])
    sizes = ("table", "table_and_adagrad", "table_and_row_wise_adagrad", "table_and_lazy_adam")
    assert found["bytes"] == dict.fromkeys(sizes, 0)
    Console(width=200).print(clicks_inspection_table(found))
