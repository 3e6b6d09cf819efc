"""From the text of arguments to values: columns, lists, checkpoints, threads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from coset.errors import InputError, unknown

if TYPE_CHECKING:
    from coset.experiments.task import Options


def columns_of(
    user: str | None, item: str | None, rating: str | None, separator: str | None,
    user_attributes: list[str] | None = None, item_attributes: list[str] | None = None, time: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Which columns of a file of ratings are which."""
    return {
        "user": user,
        "item": item,
        "rating": rating,
        "separator": separator,
        "user_attributes": tuple(user_attributes) if user_attributes else None,
        "item_attributes": tuple(item_attributes) if item_attributes else None,
        "time": time,
    }


def options_of(
    resume: bool, engine: str, every: str | None, keep: int | None, tensorboard: bool, keep_state: bool = False
) -> Options:
    """How runs are driven."""
    from coset.experiments.task import Options
    from coset.training.fused import ENGINES

    if engine not in ENGINES:  # refused before anything is loaded or written
        raise unknown("engine", engine, ENGINES)
    return Options(resume, engine, checkpoints(every, keep), tensorboard, keep_state)


def use_threads(threads: int) -> None:
    """Let torch use so many threads."""
    import torch

    if not 1 <= threads <= 1024:
        raise InputError(f"--threads must lie in 1 … 1024, not {threads}")
    torch.set_num_threads(threads)


def listed(text: str | None) -> list[str]:
    """The parts of a list with commas."""
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"a list with commas has an empty place: {text!r}")
    return parts


def numbers(text: str | None) -> list[int]:
    """The whole numbers in a list with commas."""
    parts = listed(text)
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise InputError(f"{wrong[0]!r} is no whole number")
    return [int(part) for part in parts]


def checkpoints(every: str | None, keep: int | None) -> dict[str, Any]:
    """When checkpoints are taken and how many are kept, as fields of `Saving`.

    Example:
        >>> checkpoints("500", 3), checkpoints("10min", None)
        ({'steps': 500, 'minutes': None, 'keep': 3}, {'steps': None, 'minutes': 10.0})
    """
    found: dict[str, Any] = {}
    if every is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|s)?", every.strip())
        if not match or (match[2] is None and not match[1].isdecimal()):
            raise InputError(
                f"--checkpoint-every is a number of steps, as 1000, or a time, as 10min or 30s, not {every!r}"
            )
        if match[2] is None:
            found = {"steps": int(match[1]), "minutes": None}
        else:
            found = {"steps": None, "minutes": float(match[1]) / (60 if match[2] == "s" else 1)}
    return found if keep is None else {**found, "keep": keep}
