"""Schemas of click logs: what is refused, and what a file of one gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coset.data.clicks import CRITEO_KAGGLE, ClickSchema, load_schema
from coset.errors import InputError


def test_criteo_is_built_in() -> None:
    assert load_schema("criteo-kaggle") == CRITEO_KAGGLE
    assert len(CRITEO_KAGGLE.columns) == 40
    assert CRITEO_KAGGLE.names == CRITEO_KAGGLE.columns
    assert CRITEO_KAGGLE.type_of("C26") == "hex"


def test_a_schema_out_of_a_file(tmp_path: Path) -> None:
    fields = {"label": "y", "numeric": ["n"], "categorical": ["a"], "lists": ["l"], "types": {"a": "integer"},
              "separator": "\t"}  # fmt: skip
    toml = tmp_path / "schema.toml"
    toml.write_text(
        'label = "y"\nnumeric = ["n"]\ncategorical = ["a"]\nlists = ["l"]\nseparator = "\\t"\n[types]\na = "integer"\n'
    )
    made = load_schema(toml)
    assert made == ClickSchema("y", ("n",), ("a",), ("l",), types={"a": "integer"}, separator="\t")
    assert (made.type_of("a"), made.type_of("l")) == ("integer", "text")
    (tmp_path / "schema.json").write_text(json.dumps(fields))
    assert load_schema(tmp_path / "schema.json") == made


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "nothing to learn from"),
        ({"numeric": ["y"]}, "'y' is named twice"),
        ({"numeric": ["a", "a:missing"]}, "'a:missing' is the name of the column that marks missing values of 'a'"),
        ({"categorical": ["a", "a"]}, "'a' is named twice"),
        ({"categorical": ["a.b"]}, "without dots"),
        ({"categorical": ["a"], "types": {"b": "hex"}}, "'b'"),
        ({"categorical": ["a"], "types": {"a": "number"}}, "one of 'text', 'hex', 'integer'"),
        ({"categorical": ["a"], "separator": "::"}, "one ASCII character"),
        ({"categorical": ["a"], "separator": '"'}, "one ASCII character"),
        ({"categorical": ["a"], "lists": ["l"], "separator": "\t", "list_separator": "\t"}, "must differ"),
        ({"categorical": ["a" * 300]}, "too long for the file"),
        ({"categorical": ["a"], "names": ["y", "a", "a"]}, "'a' twice"),
        ({"categorical": ["a"], "catgorical": ["b"]}, "did you mean 'categorical'"),
        ({"categorical": "a"}, "must be a list"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, object], words: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"label": "y", **fields}))
    with pytest.raises(InputError, match=words):
        load_schema(path)


def test_no_such_schema(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'criteo-kaggle'"):
        load_schema("criteo")
    for name in ("gone.toml", "gone.json"):
        with pytest.raises(InputError, match="no such file"):
            load_schema(tmp_path / name)
    (tmp_path / "bad.toml").write_text("label = ")
    with pytest.raises(InputError, match="not readable as TOML"):
        load_schema(tmp_path / "bad.toml")


def test_the_time_is_read_once() -> None:
    assert ClickSchema("y", ("n",), time="t").columns == ("y", "n", "t")
    assert ClickSchema("y", ("n",), time="n").columns == ("y", "n")
