"""The data that a run was trained with: where they are now, and whether what is there are they."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from coset.errors import InputError


def place_of(folder: Path, was: str, moved: str | None, is_there: Callable[[str], bool], besides: str = "") -> str:
    """Where the data are: `moved`, or else where they were.

    Args:
        folder: of the run, for the words of errors.
        was: where they were.
        is_there: whether something is still at a place.
        besides: what else the run needs them for, in words.

    Raises:
        InputError: nothing is there any more.
    """
    if moved is not None:
        return moved
    if not is_there(was):
        raise InputError(f"{was}: not there, and {folder} was trained on it{besides}; say where it is now by --data")
    return was


def check_own(are_own: bool, place: str | Path, folder: Path, moved: str | None) -> None:
    """Raise an `InputError` unless the data at a place are those that the run was trained with."""
    if not are_own:
        more = "; say where those are by --data" if moved is None else ""
        raise InputError(f"{place}: holds other data than those that {folder} was trained with{more}")
