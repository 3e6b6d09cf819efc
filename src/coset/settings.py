"""Choices written by people — TOML, JSON, keyword arguments — as frozen dataclasses with checked fields."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from coset.documents import LARGEST
from coset.errors import InputError, brief, unknown

S = TypeVar("S")
Readers = Mapping[Any, Callable[[Any], Any]]
"""Functions that read fields of other types, by type."""


@cache
def fields(cls: type[Any]) -> dict[str, Any]:
    """Names and types of the fields of a dataclass."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def make(cls: type[S], given: Mapping[str, Any], what: str, readers: Readers | None = None) -> S:
    """An instance of the dataclass `cls` with the `given` fields, each checked against its declared type.

    Raises:
        InputError: a field that is unknown (the nearest is suggested), missing, or of another type; `what` names
            the thing in the message.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Shuffle:
        ...     buffer: int
        >>> make(Shuffle, {"bufer": 1}, "shuffle")
        Traceback (most recent call last):
        coset.errors.InputError: unknown field of shuffle 'bufer': did you mean 'buffer'?
    """
    if not isinstance(given, Mapping):
        raise InputError(f"{what} must be a table of fields, not {brief(given)}")
    hints, tests = fields(typing.cast("Any", cls)), _tests(typing.cast("Any", cls))
    for name in given:
        if name not in hints:
            if not hints:
                raise InputError(f"{what} has no fields, {brief(name)} was given")
            raise unknown(f"field of {what}", str(name), hints)
    if missing := [name for name in _required(typing.cast("Any", cls)) if name not in given]:
        raise InputError(f"{what} needs {', '.join(missing)}")
    return cls(
        **{
            name: value if tests[name](value) else checked(hints[name], value, f"{what}: {name}", readers)
            for name, value in given.items()
        }
    )


@cache
def _required(cls: type[Any]) -> list[str]:
    """The fields of a dataclass that have no default."""
    return [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]


def check(instance: Any, what: str, readers: Readers | None = None) -> None:
    """Convert the fields of a dataclass instance to their declared types, or raise an `InputError` that begins with
    `what` for a field of another type."""
    cls: Any = type(instance)
    for name, test in _tests(cls).items():
        if not test(value := getattr(instance, name)):
            object.__setattr__(instance, name, checked(fields(cls)[name], value, f"{what}: {name}", readers))


def fits(hint: Any, value: Any) -> bool:
    """Whether `value` has the type `hint` beyond doubt: a fast test, since planners make methods by the thousand. False
    for what `checked` must look at, and for numbers that JSON could not read again."""
    return _test(hint)(value)


@cache
def _tests(cls: Any) -> dict[str, Callable[[Any], bool]]:
    """`fits` for each field of a dataclass."""
    return {name: _test(hint) for name, hint in fields(cls).items()}


@cache
def _test(hint: Any) -> Callable[[Any], bool]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is int:
        return lambda value: type(value) is int and -LARGEST < value < LARGEST
    if hint in (bool, str):
        return lambda value: type(value) is hint
    if origin is Literal and all(type(one) is str for one in arguments):
        return lambda value: type(value) is str and value in arguments
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        (inner,) = (_test(one) for one in arguments if one is not NoneType)
        return lambda value: value is None or inner(value)
    if origin in (Union, UnionType):
        every = [_test(one) for one in arguments]
        return lambda value: any(test(value) for test in every)
    if origin is tuple and arguments[1:] == (...,):
        each = _test(arguments[0])
        return lambda value: type(value) is tuple and all(map(each, value))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return lambda value: isinstance(value, hint)
    return lambda _: False


def checked(hint: Any, value: Any, where: str, readers: Readers | None = None) -> Any:
    """`value` in the type `hint`, or an `InputError` that begins with `where`."""
    if fits(hint, value):
        return value
    origin, arguments = get_origin(hint), get_args(hint)
    if readers and hint in readers:
        return value if isinstance(value, hint) else readers[hint](value)
    if origin in (Union, UnionType) and NoneType not in arguments:
        many = isinstance(value, list | tuple)
        chosen = next((one for one in arguments if (get_origin(one) is tuple) == many), arguments[0])
        return checked(chosen, value, where, readers)
    if origin in (Union, UnionType) and NoneType in arguments:
        inner = [argument for argument in arguments if argument is not NoneType]
        return None if value is None else checked(Union[tuple(inner)], value, where, readers)  # noqa: UP007
    if origin is Literal:
        if not isinstance(value, tuple(map(type, arguments))) or value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(map(repr, arguments))}, not {brief(value)}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"{where} must be a list, not {brief(value)}")
        return tuple(checked(arguments[0], item, f"{where}[{at}]", readers) for at, item in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a table, not {brief(value)}")
        return {key: checked(arguments[1], item, f"{where}.{key}", readers) for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else make(hint, value, where, readers)
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    anything = hint in (Any, object)
    if hint in (int, float):
        value = scalar(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < 1024:
        value = float(value)
    if not anything and (not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)):
        raise InputError(f"{where} must be of type {getattr(hint, '__name__', hint)}, not {brief(value)}")
    if not anything and isinstance(value, float) and not isfinite(value):
        raise InputError(f"{where} must be finite, not {brief(value)}")
    if isinstance(value, int) and not -LARGEST < value < LARGEST:  # JSON could write it, and not read it again
        raise InputError(f"{where} must be a whole number of at most 64 bits, not {brief(value)}")
    return value


MOST_EPOCHS = 1_000_000_000
"""Most epochs of a training: more than any ends."""

LARGEST_SEED = (1 << 63) - 1
"""Largest seed that torch and numpy both take."""
LARGEST_SIZE = (1 << 63) - 1
"""Of what arrays count."""


def check_range(what: str, value: int, least: int, most: int) -> None:
    """Raise an `InputError` that begins with `what` unless the whole number lies in `least … most`.

    Example:
        >>> check_range("seed", -1, 0, 9)
        Traceback (most recent call last):
        coset.errors.InputError: seed must lie in 0 … 9, not -1
    """
    if not least <= value <= most:
        shown = f"at least {least}" if value < least and most >= MOST_EPOCHS else f"in {least} … {most}"
        raise InputError(f"{what} must {'be' if shown.startswith('at') else 'lie'} {shown}, not {brief(value)}")


def scalar(value: Any) -> Any:
    """A single number of numpy or torch, or an array or tensor without a dimension, as Python's own; anything else as
    it is."""
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (RuntimeError, ValueError, TypeError):  # of a tensor without values, as on the meta device
        return value


def whole(what: str, value: Any, least: int = 0, most: int = LARGEST_SEED) -> int:
    """An argument that is a whole number in `least … most`, as an `int`; errors begin with `what`.

    It is one of Python, numpy or torch, or an array or tensor without a dimension; as for Python's own indices, no
    float is one, whatever its value.

    Example:
        >>> import numpy as np
        >>> whole("chunk", np.int64(3)), whole("chunk", np.array(8))
        (3, 8)
    """
    if type(value) is int and least <= value <= most:
        return value
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, int):
        kind = "the float " if isinstance(found, float) and found.is_integer() else ""
        raise InputError(f"{what} must be a whole number, not {kind}{brief(value)}")
    check_range(what, found, least, most)
    return found


def number(what: str, value: Any) -> int | float:
    """An argument that is a number and not NaN, of those that `whole` knows or a float, as Python's own; errors begin
    with `what`."""
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, int | float) or found != found:
        raise InputError(f"{what} must be a number, not {brief(value)}")
    return found


def truth(what: str, value: Any) -> bool:
    """An argument that is true or false, or the 0 or 1 that stands for it; errors begin with `what`."""
    found = scalar(value)
    if not isinstance(found, int) or found not in (0, 1):
        raise InputError(f"{what} must be True or False, not {brief(value)}")
    return bool(found)


def one_of(what: str, value: Any, known: Sequence[str]) -> str:
    """An argument that is one of a few strings; errors begin with `what`.

    Example:
        >>> one_of("mode", "median", ("sum", "mean", "max"))
        Traceback (most recent call last):
        coset.errors.InputError: mode must be 'sum', 'mean' or 'max', not 'median'
    """
    if not isinstance(value, str) or value not in known:
        *first, last = map(repr, known)
        raise InputError(f"{what} must be {', '.join(first)} or {last}, not {brief(value)}")
    return value


def of_kind(what: str, value: Any, kind: type[S] | tuple[type[Any], ...], called: str) -> Any:
    """An argument of one of these classes, `called` so in the error, which begins with `what`."""
    if not isinstance(value, kind):
        raise InputError(f"{what} must be {called}, not {brief(value)}")
    return value


def plain(value: Any) -> Any:
    """`value` as plain JSON values; dataclasses become tables of their fields, or what their `to_json` returns."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in fields(type(value))}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
