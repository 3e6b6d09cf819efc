"""Raw ids: one sort a column, nothing lost, nothing guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from coset.data.ids import are_text, as_ids, ids_from_text
from coset.errors import InputError


@pytest.mark.parametrize(
    "given",
    [[3, -1], np.array([3, -1], dtype=np.int8), np.array([3, -1], dtype=object), torch.tensor([3, -1])],
)
def test_whole_numbers_become_int64(given: Any) -> None:
    ids = as_ids(given, "x")
    assert ids.dtype == np.int64
    assert ids.tolist() == [3, -1]
    assert not are_text(ids)


@pytest.mark.parametrize("given", [["b", "a"], np.array(["b", "a"]), np.array(["b", "a"], dtype=object)])
def test_text_becomes_objects(given: Any) -> None:
    ids = as_ids(given, "x")
    assert are_text(ids)
    assert ids.tolist() == ["b", "a"]
    assert set(map(type, ids.tolist())) == {str}


def test_nul_characters_at_the_end_survive() -> None:
    assert as_ids(["a\0", "a"], "x").tolist() == ["a\0", "a"]


def test_the_shape_stays() -> None:
    assert as_ids([["a", "b"], ["c", "d"]], "x").shape == (2, 2)
    assert as_ids(np.array([["1"]]), "x").shape == (1, 1)
    assert as_ids(np.array([[1], [2]], dtype=object), "x").shape == (2, 1)


def test_numpy_text_scalars_become_str() -> None:
    assert set(map(type, as_ids([np.str_("a"), "b"], "x").tolist())) == {str}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a", 1], ["position 1", "1", "int"]),
        ([1, 2, "a"], ["position 2", "'a'", "str"]),
        ([1, None], ["position 1", "None"]),
        ([None], ["position 0", "None"]),
        ([True], ["True", "bool"]),
        ([1, True], ["position 1", "bool"]),
        (np.array([1.5]), ["float64"]),
        (np.array([True]), ["bool"]),
        ([2**63], ["64", "text"]),
        (np.array([2**63], dtype=np.uint64), ["9223372036854775808", "64", "text"]),
    ],
)
def test_anything_else_is_refused(given: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        as_ids(given, "feature 'user'")
    for word in ["feature 'user'", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (["7", "-3"], True),
        (["9223372036854775807", "-9223372036854775808"], True),
        (["9223372036854775808"], False),
        (["007", "7"], False),
        (["+7"], False),
        (["1.0"], False),
        (["-0"], False),
        (["7", "a"], False),
    ],
)
def test_text_of_whole_numbers_becomes_numbers_only_when_nothing_is_lost(text: list[str], numbers: bool) -> None:
    ids = ids_from_text(pl.Series(text))
    assert (ids.dtype == np.int64) is numbers
    assert list(map(str, ids.tolist())) == text
