"""JSON of an artifact, as plain values that later code may walk."""

from __future__ import annotations

import json
from typing import Any

from coset_runtime.errors import InputError, brief

DEEPEST = 64
"""Most levels of nested tables and lists."""


def parse(text: bytes, where: object) -> Any:
    """The value that is written there as JSON.

    Raises:
        InputError: it is not JSON in UTF-8, a name occurs twice in a table, a number is not finite, or it is nested too
            deep.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise InputError(f"{where}: a name occurs twice in one table")
        return found

    def infinite(word: str) -> float:
        raise InputError(f"{where}: {word} is no finite number")

    def number(digits: str) -> float:
        found = float(digits)
        return found if abs(found) < float("inf") else infinite(brief(digits))

    def integer(digits: str) -> int:
        return int(digits) if len(digits) < 100 else int(infinite(brief(digits)))

    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=once, parse_constant=infinite, parse_float=number, parse_int=integer
        )
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{where}: nested too deep") from None
    except ValueError as error:
        raise InputError(f"{where}: not readable as JSON ({error})") from None
    level, left = 0, [value]
    while left:
        level += 1
        if level > DEEPEST:
            raise InputError(f"{where}: tables and lists are nested more than {DEEPEST} deep")
        left = [of for each in left if isinstance(each, dict | list) for of in _inside(each)]
    return value


def _inside(value: dict[str, Any] | list[Any]) -> Any:
    return value.values() if isinstance(value, dict) else value
