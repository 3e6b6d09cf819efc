"""Writing prepared data: what is refused, and what is left behind by a writer that did not come to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coset.data.clicks import ClickData, ClickWriter, Feature
from coset.data.clicks.write import MARK
from coset.errors import InputError

ONE, BAG = Feature("a", 3), Feature("b", 4, multi_hot=True)
GOOD: dict[str, Any] = {
    "part": "training",
    "labels": [0, 1],
    "numeric": [[0.0], [1.0]],
    "ids": [[2, 0]],
    "lists": {"b": ([3, 1, 3], [1, 2])},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"part": "test"}, "unknown part"),
        ({"labels": [0, 2]}, "0 or 1"),
        ({"part": ["training"]}, "unknown part"),
        ({"labels": None}, r"labels must have the shape \(rows,\)"),
        ({"labels": [[0, 1]]}, r"labels must have the shape \(rows,\), not \(1, 2\)"),
        ({"numeric": [[0.0], [np.nan]]}, "finite"),
        ({"numeric": [[0.0, 1.0]]}, r"shape \(rows, columns\), \(2, 1\) here, not \(1, 2\)"),
        ({"numeric": [0.0, 1.0]}, r"shape \(rows, columns\), \(2, 1\) here, not \(2,\)"),
        ({"numeric": [["x"], ["y"]]}, "must hold numbers alone"),
        ({"numeric": torch.ones(2, 1, requires_grad=True)}, "must hold numbers alone"),
        ({"numeric": None}, r"shape \(rows, columns\), \(2, 1\) here, not \(\)"),
        ({"ids": [[3, 0]]}, "ids lie in 0 … 2"),
        ({"ids": [[-1, 0]]}, "ids lie in 0 … 2"),
        ({"ids": [[0]]}, "needs 2 whole numbers"),
        ({"ids": [[0.0, 1.0]]}, "needs 2 whole numbers"),
        ({"ids": []}, "1 one-hot"),
        ({"ids": None}, "ids must be a list of columns, not None"),
        ({"ids": [["x", "y"]]}, "needs 2 whole numbers"),
        ({"lists": [3]}, r"lists must be a table, not \[3\]"),
        ({"lists": {"b": [3, 1, 3]}}, "its ids and the number of them in each row, as a pair"),
        ({"lists": {"b": ([3, 1, 3], [-1, 4])}}, "lengths lie in 0 … 3"),
        ({"lists": {"b": ([3, 1, 3], [2**40, 3 - 2**40])}}, "lengths lie in 0 … 3"),
        ({"lists": {"b": ([3, 1, 3], [1.5, 1.5])}}, "a length for each of 2 rows, a whole number"),
        ({"lists": {"b": ([3, 1], [True, True])}}, "a length for each of 2 rows, a whole number"),
        ({"lists": None}, "b are needed"),
        ({"lists": {"b": ([3, 1, 4], [1, 2])}}, "ids lie in 0 … 3"),
        ({"lists": {"b": ([3, 1, 3], [3])}}, "a length for each"),
        ({"lists": {"b": ([3, 1], [1, 2])}}, "needs 3 whole numbers"),
    ],
)
def test_wrong_chunks_are_refused_and_change_nothing(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with ClickWriter(tmp_path / "out", "made", ("n",), [ONE, BAG]) as writer:
        writer.append(**GOOD)
        with pytest.raises(InputError, match=words):
            writer.append(**GOOD | change)
        writer.append(**GOOD)
    data = ClickData.open(tmp_path / "out")
    assert data.parts == {"training": 4, "validation": 0}
    (batch,) = data.part("training").batches(4)
    assert batch.ids.tolist() == [[2, 0, 2, 0]]
    assert batch.bags["b"][0].tolist() == [3, 1, 3, 3, 1, 3]
    assert batch.bags["b"][1].tolist() == [0, 1, 3, 4]
    assert data.features[1].frequencies is not None
    assert data.features[1].frequencies.tolist() == [0, 2, 0, 4]


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    writer = ClickWriter(tmp_path / "out", "made", ("n",), [ONE, BAG])

    def interrupted() -> None:
        with writer:
            writer.append(**GOOD)
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        interrupted()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name != ".coset-lock"]
    with ClickWriter(tmp_path / "out", "made", ("n",), [ONE, BAG]) as again:
        again.append(**GOOD)
    assert ClickData.open(tmp_path / "out").parts["training"] == 2
    assert not (tmp_path / "out" / MARK).exists()


def test_no_training_rows(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no training rows"),
        ClickWriter(tmp_path / "out", "made", ("n",), [ONE, BAG]) as writer,
    ):
        writer.append(**GOOD | {"part": "validation"})
    with pytest.raises(InputError, match="no prepared data"):
        ClickData.open(tmp_path / "out")


def test_a_killed_writer_is_begun_anew(tmp_path: Path) -> None:
    code = (
        "import os, sys; from coset.data.clicks import ClickWriter, Feature\n"
        "with ClickWriter(sys.argv[1], 'made', ('n',), [Feature('a', 3)]) as writer:\n"
        "    writer.append('training', [1], [[0]], [[2]]); os._exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=False, timeout=280).returncode == 7
    assert (tmp_path / "out" / MARK).exists()
    with ClickWriter(tmp_path / "out", "made", ("n",), [ONE, BAG]) as again:
        again.append(**GOOD)
    assert ClickData.open(tmp_path / "out").parts["training"] == 2
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.name.startswith(".") and path.is_file()]
    assert left == [".coset-lock"]


def test_rows_before_and_after_the_block(tmp_path: Path) -> None:
    writer = ClickWriter(tmp_path / "out", "made", ("n",), [ONE, BAG])
    with pytest.raises(InputError, match="within the `with` block"):
        writer.append(**GOOD)
    with writer:
        writer.append(**GOOD)
    with pytest.raises(InputError, match="within the `with` block"):
        writer.append(**GOOD)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"), ClickWriter(tmp_path, "made", ("n",), [ONE]):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_names_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'n'"):
        ClickWriter(tmp_path, "made", ("n",), [Feature("n", 3)])
    with pytest.raises(InputError, match="one-hot ones first"):
        ClickWriter(tmp_path, "made", ("n",), [BAG, ONE])
    with pytest.raises(InputError, match="num_embeddings must be at least 1, not 0"):
        Feature("a", 0)
    for numeric, features, said in (
        ("age", [ONE], "numeric must be a list, not 'age'"),
        ([1, 2], [ONE], r"numeric\[0\] must be of type str, not 1"),
        (None, [ONE], "numeric must be a list"),
        ((), "item", "features must be a list"),
        ((), ["item"], "must be a Feature, not 'item'"),
        ((), [Feature("é" * 80, 3)], "is too long for that of a file"),
    ):
        with pytest.raises(InputError, match=said):
            ClickWriter(tmp_path, "made", numeric, features)
    for facts in ({"a": np.nan}, {"a": ONE}, [3]):
        with pytest.raises(InputError, match=r"facts cannot be written as JSON|facts must be a table"):
            ClickWriter(tmp_path, "made", (), [ONE], facts=facts)  # type: ignore[arg-type]
    odd = [Feature("a/b", 3), Feature("..é %", 3)]  # no table's name has a dot, but files must not care
    with ClickWriter(tmp_path / "out", "made", (), odd) as writer:
        writer.append("training", [1], [[]], [[1], [2]])
    assert next(ClickData.open(tmp_path / "out").part("training").batches(1)).ids.tolist() == [[1], [2]]
