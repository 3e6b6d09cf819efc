"""What a command is given may be of several kinds, such as a run or a checkpoint, each with options of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from coset.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of thing that a command takes.

    Args:
        what: it is called in a sentence, such as `"a run"`.
        claims: whether something, as the user named it, is of this kind.
        takes: the options that go with it.
        act: what the command does with it.
    """

    what: str
    claims: Callable[[str], bool]
    takes: frozenset[str]
    act: T


def kind_of(kinds: Sequence[Kind[T]], subject: str, options: Mapping[str, Any]) -> Kind[T]:
    """The first kind that claims something; the last one takes all that is left.

    Args:
        kinds: to choose from.
        subject: as the user named it.
        options: by name, those that were not given as None or empty.

    Raises:
        InputError: an option that does not go with it.

    Example:
        >>> runs = Kind("a run", lambda name: name == "mine", frozenset({"data"}), len)
        >>> kind_of([runs], "mine", {"data": "there", "table": None}).what
        'a run'
    """
    kind = next((each for each in kinds if each.claims(subject)), kinds[-1])
    for name, value in options.items():
        if value not in (None, (), [], 0) and name not in kind.takes:
            others = " or ".join(each.what for each in kinds if name in each.takes)
            raise InputError(f"{subject} is {kind.what}, and --{name} is for {others}; leave it out")
    return kind
