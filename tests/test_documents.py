"""Documents by anybody: a value that all later code may walk, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coset.data.clicks.schema import load_schema
from coset.documents import DEEPEST, Malformed, parse_json, parse_toml
from coset.errors import InputError
from coset.experiments.planning import read_plan
from coset.experiments.recipe import load_recipe
from coset.files import read_json, read_toml
from coset.training.seal import read_about

DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * DEEP, "deep"),
        ("[" * DEEP + "]" * DEEP, "deep"),
        ('{"a":' * DEEP, "deep"),
        ("[" * 65 + "]" * 65, "deep"),
        ('{"a": {"b": 1, "b": 2}}', "'b' occurs twice"),
        ('{"a": [1, NaN]}', r"a\[1\] is nan"),
        ("-Infinity", "the value is -inf"),
        ('{"rate": 1e999}', "rate is inf"),
        (f'{{"seed": {2**64}}}', "seed is a whole number of more than 64 bits"),
        (f'{{"seed": {-(2**64)}}}', "seed is a whole number of more than 64 bits"),
        ('{"seed": %s}' % ("9" * 5000), "seed is inf"),
        (r'{"a": "\ud800"}', "a has half a character"),
        (r'{"b": {"\udfff": 1}}', "b has half a character .* in a name"),
        ('{"a": 1, "a": 2}'.replace("a", "x" * 10000), "occurs twice"),
    ],
)
def test_what_no_document_needs_is_one_short_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"^here: .*{words}") as caught:
        parse_json(text, "here")
    assert len(str(caught.value)) < 250
    assert not isinstance(caught.value, Malformed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * DEEP, "deep"),
        ("a = " + "[" * 64 + "]" * 64, "deep"),
        ("a = " + "{a=" * DEEP, "deep"),
        (".".join("a" * DEEP) + " = 1", "deep"),
        ("[" + " . ".join(['"a b"'] * DEEP) + "]", "deep"),
        ("rate = nan", "rate is nan"),
        ("rate = [1.0, -inf]", r"rate\[1\] is -inf"),
        ("seed = 0x1" + "0" * 4000, "seed is a whole number of more than 64 bits"),
        ("day = 1979-05-27", "day is a date or a time, 1979-05-27; write it as text"),
        ("at = 07:32:00", "at is a date or a time"),
    ],
)
def test_the_same_of_toml(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"^here: .*{words}") as caught:
        parse_toml(text, "here")
    assert len(str(caught.value)) < 250


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["x" * 1_000_000, "x-" * 500_000, '"' * 1_000_001, "a." * 60 + "a"])
def test_long_words_take_no_time(text: str) -> None:
    for whole in (text, f"a = {text}", f"a = '''{text}'''"):
        try:
            parse_toml(whole, "here")
        except InputError as error:
            assert len(str(error)) < 250  # noqa: PT017


def test_texts_of_another_format_are_malformed() -> None:
    for text in ("", "{", "[1,]", "{'a': 1}", "0x10", "nul"):
        with pytest.raises(Malformed, match="here: not readable as JSON"):
            parse_json(text, "here")
    for text in ("a", "a = ", "a = 1\na = 2", "[a]\n[a]", "a = " + "9" * 5000, "a = '\0'"):
        with pytest.raises(Malformed, match="here: not readable as TOML"):
            parse_toml(text, "here")


def test_what_documents_hold_is_read_as_it_is() -> None:
    value = {"a": [1, -2.5, True, None, "größer", {"": [2**63, -(2**63), 2**64 - 1]}], "b": {}, "c": [[]]}
    assert parse_json(json.dumps(value), "") == value
    assert parse_json("\ufeff[1]", "") == [1]
    deepest = parse_json("[" * DEEPEST + "]" * DEEPEST, "")
    assert json.loads(json.dumps(deepest)) == deepest
    assert parse_toml("\ufeffa.b = 1\nc = [1, 2.5]\n", "") == {"a": {"b": 1}, "c": [1, 2.5]}


@pytest.mark.parametrize("read", [read_json, read_toml])
def test_files_that_cannot_be_read_are_named(read: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b'{"a": "\xe9"}')
    cases = {"none": "no such file", "latin": "not in UTF-8", ".": r"not readable as \w+ \(Is a directory\)$"}
    for name, words in cases.items():
        with pytest.raises(InputError, match=f"^{tmp_path / name}: .*{words}"):
            read(tmp_path / name)
    with pytest.raises(InputError, match="not a usable path"):
        read(Path("a\0b"))


def test_everything_that_people_write_is_read_so(tmp_path: Path, coset: Callable[..., Any]) -> None:
    deep = '{"a":' * DEEP
    for name, text in {"plan.json": deep, "schema.json": deep, "run.json": deep}.items():
        (tmp_path / name).write_text(text)
    for name in ("schema.toml", "recipe.toml"):
        (tmp_path / name).write_text("label = " + "[" * DEEP)
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: read_plan(tmp_path / "plan.json"), "plan.json"),
        (lambda: load_schema(tmp_path / "schema.json"), "schema.json"),
        (lambda: load_schema(tmp_path / "schema.toml"), "schema.toml"),
        (lambda: load_recipe(tmp_path / "recipe.toml"), "recipe.toml"),
        (lambda: read_about(tmp_path), "run.json"),
    ]
    for call, name in calls:
        with pytest.raises(InputError, match=f"{name}: tables and lists are nested more than 64 deep"):
            call()
    (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,2,3\n2,3,4\n")
    for value, words in (("[" * 5000, "nested more than 64 deep"), ("nan", "finite"), ("1979-05-27", "date")):
        said = coset("train", "r.csv", "--set", f"training.l2={value}").sentence
        assert said.startswith("--set training.l2=")
        assert words in said
        assert len(said) < 250
