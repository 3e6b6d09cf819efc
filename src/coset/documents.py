"""JSON and TOML from anywhere, read so that any text gives either a value or an error of one sentence.

The parsers of the standard library accept texts that later code fails on: nesting as deep as Python's stack, a name
twice in one table, NaN, numbers of thousands of digits, halves of characters. coset needs none of those, so this module
refuses them, and all later code may walk a document, print it and write it again.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from math import isfinite
from typing import Any

from coset.errors import InputError, brief

Json = dict[str, Any]
"""A table of JSON or TOML, whose values no type checker can know."""
DEEPEST = 64
"""Most levels of nested tables and lists."""
LARGEST = 1 << 64
"""Whole numbers are smaller than this."""

_WORD = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_DOTS = re.compile(rf"(?<![\w-])(?:{_WORD}){{{DEEPEST}}}", re.ASCII)


class Malformed(InputError):
    """A text that is not in its format at all."""


def parse_json(text: str, where: object) -> Any:
    """The value that is written in `text` as JSON.

    Args:
        where: what begins the message of an error, such as the path of the file.

    Raises:
        Malformed: it is not JSON.
        InputError: a name occurs twice in one table, or as `parse_toml`.

    Example:
        >>> parse_json('{"a": 1, "a": 2}', "plan.json")
        Traceback (most recent call last):
        coset.errors.InputError: plan.json: 'a' occurs twice in one table; remove one
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise InputError(f"{where}: {brief(twice)} occurs twice in one table; remove one")
        return found

    try:
        value = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=once, parse_int=_whole)
    except InputError:
        raise
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        raise Malformed(f"{where}: not readable as JSON ({brief(str(error), quoted=False)})") from None
    _check(value, where)
    return value


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """The table that is written in `text` as TOML.

    Args:
        where: what begins the message of an error, such as the path of the file.

    Raises:
        Malformed: it is not TOML.
        InputError: tables and lists are nested more than 64 deep; a number is NaN, infinite or larger than 64 bits
            hold; a text has half a character (a lone surrogate); or a value is a date.

    Example:
        >>> parse_toml("rate = nan", "mine.toml")
        Traceback (most recent call last):
        coset.errors.InputError: mine.toml: rate is nan; numbers must be finite
    """
    if _DOTS.search(text):  # which tomllib takes hours for where there are many
        raise _too_deep(where)
    try:
        value = tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:  # a number of too many digits is one, too, and no TOMLDecodeError
        raise Malformed(f"{where}: not readable as TOML ({brief(str(error), quoted=False)})") from None
    _check(value, where)
    return value


def _whole(digits: str) -> int | float:
    """A whole number, or the infinity that stands for one of more digits than Python takes."""
    return int(digits) if len(digits) < 100 else float("inf")


def _too_deep(where: object) -> InputError:
    return InputError(f"{where}: tables and lists are nested more than {DEEPEST} deep; nest them less")


def _check(value: Any, where: object) -> None:
    """Raise an `InputError` for what no document needs; without recursion, however deep the nesting."""
    waiting: list[tuple[Any, str, int]] = [(value, "", 0)]
    while waiting:
        found, name, depth = waiting.pop()
        if isinstance(found, dict | list):
            if depth >= DEEPEST:
                raise _too_deep(where)
            waiting += [(of, path, depth + 1) for path, of in _inside(found, name, where)]
        elif isinstance(found, float):
            if not isfinite(found):
                raise InputError(f"{where}: {_of(name)} is {found}; numbers must be finite")
        elif isinstance(found, int):
            if not -LARGEST < found < LARGEST:
                raise InputError(f"{where}: {_of(name)} is a whole number of more than 64 bits")
        elif isinstance(found, str):
            if _broken(found):
                raise InputError(f"{where}: {_of(name)} has half a character (a lone surrogate) in its text")
        elif found is not None:
            raise InputError(f"{where}: {_of(name)} is a date or a time, {found}; write it as text")


def _inside(found: dict[str, Any] | list[Any], name: str, where: object) -> Iterable[tuple[str, Any]]:
    if isinstance(found, list):
        return [(f"{name}[{at}]", of) for at, of in enumerate(found)]
    if any(map(_broken, found)):
        raise InputError(f"{where}: {_of(name)} has half a character (a lone surrogate) in a name")
    return [(f"{name}.{key}" if name else key, of) for key, of in found.items()]


def _of(name: str) -> str:
    return brief(name, quoted=False) or "the value"


def _broken(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)
