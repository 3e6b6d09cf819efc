"""The data that a run was trained on: where they are now, and whether they are unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from coset.errors import InputError


def place_of(folder: Path, was: str, moved: str | None, is_there: Callable[[str], bool], besides: str = "") -> str:
    """Where the data are: `moved`, or else where they were.

    Args:
        folder: of the run, for messages.
        was: where they were.
        is_there: whether data exist at a place.
        besides: what else the run needs them for, for messages.

    Raises:
        InputError: the data are no longer there.
    """
    if moved is not None:
        return moved
    if not is_there(was):
        raise InputError(f"{was}: not there, and {folder} was trained on it{besides}; name its place by --data")
    return was


def check_own(are_own: bool, place: str | Path, folder: Path, moved: str | None) -> None:
    """Raise an `InputError` unless the data at a place are those that the run was trained on."""
    if not are_own:
        more = "; name the place of those by --data" if moved is None else ""
        raise InputError(f"{place}: holds other data than those that {folder} was trained on{more}")
