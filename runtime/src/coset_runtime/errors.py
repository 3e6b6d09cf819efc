"""Errors of wrong input, and checks of what documents say."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")
LONGEST = 60


class InputError(ValueError):
    """Wrong input; the message is one sentence that says what is wrong, where, and what would be right."""


class UnknownId(InputError):
    """A raw id that a vocabulary does not hold."""


class Damaged(InputError):
    """An artifact that contradicts itself; whoever knows its folder adds that to the message."""


def brief(value: object) -> str:
    """A value in a message, at most so long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def entry(of: Any, name: str, kind: type[T] | tuple[type[T], ...], where: str) -> T:
    """What a table of a document has under a name.

    Raises:
        Damaged: it has nothing there, or something of another kind.
    """
    if not isinstance(of, dict):
        raise Damaged(f"{where} is {brief(of)}, not a table")
    if name not in of:
        raise Damaged(f"{where} has no {name!r}")
    value = of[name]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise Damaged(f"{where}: {name!r} is {brief(value)}")
    return value


def whole(of: Any, name: str, where: str, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number, likewise, in a range."""
    value = entry(of, name, int, where)
    if not least <= value <= most:
        raise Damaged(f"{where}: {name!r} is {brief(value)}, not in {least} … {most}")
    return value
