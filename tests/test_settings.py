"""Choices written by people, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coset import settings
from coset.errors import InputError


@dataclass(frozen=True)
class Inner:
    size: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    count: int = 1
    share: float = 0.5
    flag: bool = False
    kind: Literal["random", "ordered"] = "random"
    maybe: int | None = None
    word: Literal["a", "b"] | None = None
    inner: Inner = field(default_factory=lambda: Inner(3))
    many: tuple[Inner, ...] = ()
    dims: tuple[int, ...] = ()
    nested: tuple[tuple[float, ...], ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    anything: Any = None


class Word:
    """A type that only a reader knows how to read."""

    def __init__(self, text: str) -> None:
        self.text = text


@dataclass(frozen=True)
class Holder:
    one: Word
    many: tuple[Word, ...] = ()


def make(**fields: Any) -> Outer:
    return settings.make(Outer, {"name": "x", **fields}, "outer")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cuont": 1}, "unknown field of outer 'cuont': did you mean 'count'?"),
        ({"inner": {"sise": 1}}, "unknown field of outer: inner 'sise': did you mean 'size'?"),
        ({"inner": {}}, "outer: inner needs size"),
        ({"inner": 3}, "outer: inner must be a table of fields, not 3"),
        ({"name": 3}, "outer: name must be of type str, not 3"),
        ({"name": None}, "outer: name must be of type str, not None"),
        ({"count": 1.0}, "outer: count must be of type int, not 1.0"),
        ({"count": "1"}, "outer: count must be of type int, not '1'"),
        ({"count": True}, "outer: count must be of type int, not True"),
        ({"share": True}, "outer: share must be of type float, not True"),
        ({"share": "0.5"}, "outer: share must be of type float, not '0.5'"),
        ({"share": float("nan")}, "outer: share must be finite, not nan"),
        ({"share": float("-inf")}, "outer: share must be finite, not -inf"),
        ({"flag": 1}, "outer: flag must be of type bool, not 1"),
        ({"kind": "radnom"}, "outer: kind must be one of 'random', 'ordered', not 'radnom'"),
        ({"kind": ["random"]}, "outer: kind must be one of 'random', 'ordered', not ['random']"),
        ({"kind": None}, "outer: kind must be one of 'random', 'ordered', not None"),
        ({"word": "c"}, "outer: word must be one of 'a', 'b', not 'c'"),
        ({"maybe": "1"}, "outer: maybe must be of type int, not '1'"),
        ({"maybe": False}, "outer: maybe must be of type int, not False"),
        ({"dims": 3}, "outer: dims must be a list, not 3"),
        ({"dims": "34"}, "outer: dims must be a list, not '34'"),
        ({"dims": [1, 2.5]}, "outer: dims[1] must be of type int, not 2.5"),
        ({"nested": [[1.0], [2.0, float("inf")]]}, "outer: nested[1][1] must be finite, not inf"),
        ({"many": [{"size": 1}, {"size": "2"}]}, "outer: many[1]: size must be of type int, not '2'"),
        ({"by_name": {"u": {"size": 1, "share": "?"}}}, "outer: by_name.u: share must be of type float, not '?'"),
        ({"by_name": [1]}, "outer: by_name must be a table, not [1]"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make(**fields)
    assert str(caught.value) == message


def test_missing_fields_are_all_named() -> None:
    with pytest.raises(InputError, match="outer needs name"):
        settings.make(Outer, {}, "outer")
    with pytest.raises(InputError, match="must be a table of fields"):
        settings.make(Outer, "name", "outer")  # type: ignore[arg-type]


def test_a_class_without_fields_says_so() -> None:
    @dataclass(frozen=True)
    class Nothing:
        pass

    assert settings.make(Nothing, {}, "nothing") == Nothing()
    with pytest.raises(InputError, match="nothing has no fields, 'a' was given"):
        settings.make(Nothing, {"a": 1}, "nothing")


def test_values_take_the_declared_types() -> None:
    found = make(share=1, dims=[1, 2], nested=[[1], []], many=[{"size": 2, "share": 0}], by_name={"u": {"size": 5}})
    assert isinstance(found.share, float)
    assert found.dims == (1, 2)
    assert found.nested == ((1.0,), ())
    assert found.many == (Inner(2, 0.0),)
    assert isinstance(found.many[0].share, float)
    assert found.by_name == {"u": Inner(5)}
    assert make(maybe=None).maybe is None
    assert make(inner=Inner(9)).inner == Inner(9)


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**1024])
def test_a_whole_number_beyond_floats_is_refused_like_any_wrong_value(number: int) -> None:
    with pytest.raises(InputError, match="share"):
        make(share=number)


def test_readers_read_types_of_ones_own() -> None:
    found = settings.make(Holder, {"one": "a", "many": ["b", Word("c")]}, "holder", {Word: Word})
    assert [word.text for word in (found.one, *found.many)] == ["a", "b", "c"]


inners = st.builds(Inner, st.integers(-(2**64) + 1, 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
outers = st.builds(
    Outer,
    name=st.text(),
    count=st.integers(-(2**64) + 1, 2**64 - 1),
    share=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    kind=st.sampled_from(["random", "ordered"]),
    maybe=st.none() | st.integers(-(2**64) + 1, 2**64 - 1),
    word=st.sampled_from([None, "a", "b"]),
    inner=inners,
    many=st.lists(inners, max_size=3).map(tuple),
    dims=st.lists(st.integers(-(2**64) + 1, 2**64 - 1), max_size=3).map(tuple),
    by_name=st.dictionaries(st.text(max_size=3), inners, max_size=3),
    anything=st.none() | st.text() | st.integers(-(2**64) + 1, 2**64 - 1),
)


@given(outers)
def test_plain_and_back_is_identity(value: Outer) -> None:
    assert settings.make(Outer, settings.plain(value), "outer") == value
