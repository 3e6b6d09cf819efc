"""Raw ids: one sort a column, nothing lost, nothing guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from coset.data.ids import are_decimal, are_marks, are_text, as_ids, ids_from_text, plain, texts_of
from coset.errors import InputError


@pytest.mark.parametrize(
    "given",
    [
        [3, -1],
        np.array([3, -1], dtype=np.int8),
        np.array([3, -1], dtype=object),
        torch.tensor([3, -1]),
        np.array([3.0, -1.0]),  # as pandas keeps a column with a gap
        np.array([3, -1], dtype=np.float16),
        [3, -1.0],
    ],
)
def test_whole_numbers_become_int64(given: Any) -> None:
    ids = as_ids(given, "x")
    assert ids.dtype == np.int64
    assert ids.tolist() == [3, -1]
    assert not are_text(ids)


@pytest.mark.parametrize(
    "given",
    [["b", "a"], np.array(["b", "a"]), np.array(["b", "a"], dtype=object), np.array([b"b", b"a"]), [b"b", b"a"]],
)
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
        (np.array([[1.0, 1.5]]), ["position 1", "1.5", "no whole number"]),
        (np.array([1.0, np.nan]), ["position 1", "missing"]),
        (np.array([np.inf]), ["position 0", "inf"]),
        (np.array([2.0**53 + 2]), ["9007199254740994", "float64 merges"]),
        (np.array([2.0**24 + 2], dtype=np.float32), ["16777218", "float32"]),
        ([b"a", b"\xff"], ["\\xff", "UTF-8"]),
        (["a", b"b"], ["position 1", "bytes"]),
        ([1, "x" * 1000], ["xxx…"]),
        (np.array([True]), ["bool"]),
    ],
)
def test_anything_else_is_refused(given: Any, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        as_ids(given, "feature 'user'")
    for word in ["feature 'user'", *words]:
        assert word in str(caught.value)


def test_unsigned_numbers_beyond_64_signed_bits_are_text() -> None:
    assert as_ids(np.array([[2**63, 1]], dtype=np.uint64), "x").tolist() == [["9223372036854775808", "1"]]
    assert as_ids(np.array([2**63 - 1], dtype=np.uint64), "x").tolist() == [2**63 - 1]
    assert as_ids([2**63, 1], "x").tolist() == ["9223372036854775808", "1"]


RULE: list[tuple[list[str], list[object]]] = [
    (["7", "-3"], [7, -3]),
    (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
    (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
    (["18446744073709551615.0", "1.0"], ["18446744073709551615", "1"]),
    (["007", "7"], ["007", "7"]),
    (["+7"], ["+7"]),
    (["-0"], ["-0"]),
    (["-0.0", "0.", "1.00"], [0, 0, 1]),
    (["1.0", "1", "55.0"], [1, 1, 55]),
    (["9007199254740993.0"], [9007199254740993]),
    (["1e+05", "99999", "1.5e+01"], [100000, 99999, 15]),
    (["1e5", "1E+05", "1e+16", "1.5e+00"], ["1e5", "1E+05", "1e+16", "1.5e+00"]),
    (["55.0", "a"], ["55", "a"]),
    (["250.83", "401.0"], ["250.83", "401"]),
    (["1.0.0", "1.0"], ["1.0.0", "1"]),
]
"""Text of a column → its ids."""


@pytest.mark.parametrize(("text", "ids"), RULE)
def test_the_rule(text: list[str], ids: list[object]) -> None:
    found = ids_from_text(pl.Series(text))
    assert found.tolist() == ids
    assert (found.dtype == np.int64) is isinstance(ids[0], int)
    assert [plain(value) for value in text] == list(map(str, ids))


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pl.Series([1.0, None, float("nan"), -0.0]), ["1", None, None, "0"]),
        (pl.Series([1.0, 2.5, float("inf")]), ["1", "2.5", "inf"]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), ["18446744073709551615"]),
        (pl.Series([5, None], dtype=pl.Int8), ["5", None]),
        (pl.Series([5, None]).cast(pl.Decimal(10, 2)), ["5", None]),
        (pl.Series([" a ", "", "1.0", None]), ["a", None, "1", None]),
        (pl.Series([b"a", b"1.0"]), ["a", "1"]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series(["1.0", "x"], dtype=pl.Categorical), ["1", "x"]),
    ],
)
def test_a_typed_column_gives_what_its_text_gives(column: pl.Series, texts: list[object]) -> None:
    assert texts_of(column, "f").to_list() == texts


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pl.Series("user", [2.0**53 + 2]), ["'user'", "9007199254740994", "Float64", "whole numbers or as text"]),
        (pl.Series("user", [2.0**24 + 2], dtype=pl.Float32), ["16777218", "Float32"]),
        (pl.Series("user", [b"\xff"]), ["bytes", "UTF-8"]),
        (pl.Series("user", [[1]]), ["List"]),
        (pl.Series("user", [{"a": 1}]), ["Struct"]),
    ],
)
def test_columns_that_are_no_ids(column: pl.Series, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        texts_of(column, "f.parquet")
    for word in ["f.parquet, column 'user'", *words]:
        assert word in str(caught.value)


def test_words_for_missing_values_and_numbers() -> None:
    text = pl.Series(["nan", "NULL", "-inf", "\\N", "-", "n/a", "bob", "-2", "2.5", ".5", "1e-3"])
    assert are_marks(text).arg_true().to_list() == list(range(6))
    assert are_decimal(text[-4:])
    assert not are_decimal(text[-5:])
