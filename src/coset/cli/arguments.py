"""From the text of arguments to values: columns, lists, checkpoints, threads."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from coset.documents import Json
from coset.errors import InputError, unknown

if TYPE_CHECKING:
    from coset.training.run import Options, Saving
    from coset.training.trainer import EngineOption


T = TypeVar("T")


def columns_of(
    user: str | None, item: str | None, rating: str | None, separator: str | None,
    user_attributes: list[str] | None = None, item_attributes: list[str] | None = None, time: str | None = None,
    rating_transform: str | None = None,
) -> Json:  # fmt: skip
    """The named columns and the separator of a ratings file, by role, and the transform of its ratings; None for those
    that were not named."""
    return {
        "user": user,
        "item": item,
        "rating": rating,
        "separator": separator,
        "user_attributes": tuple(user_attributes) if user_attributes else None,
        "item_attributes": tuple(item_attributes) if item_attributes else None,
        "time": time,
        "rating_transform": rating_transform,
    }


def options_of(
    resume: bool, engine: str, every: str | None, keep: int | None, tensorboard: bool, keep_state: bool = False
) -> Options:
    """How runs are executed."""
    from coset.training.run import Options

    return Options(resume, engine_of(engine), saving_of(every, keep), tensorboard, keep_state)


def engine_of(name: str) -> EngineOption:
    """The engine of that name; an `InputError` for another."""
    from coset.training.trainer import ENGINES

    for engine in ENGINES:
        if engine == name:
            return engine
    raise unknown("engine", name, ENGINES)


def use_threads(threads: int) -> None:
    """Let torch use so many threads."""
    import torch

    if not 1 <= threads <= 1024:
        raise InputError(f"--threads must lie in 1 … 1024, not {threads}")
    torch.set_num_threads(threads)


def one(value: T | None) -> tuple[T, ...]:
    """An option that is given once, as a list of one or none."""
    return () if value is None else (value,)


def listed(text: str | None) -> list[str]:
    """The parts of a comma-separated list."""
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"the list {text!r} has an empty entry beside a comma")
    return parts


def numbers(text: str | None) -> list[int]:
    """The whole numbers in a comma-separated list."""
    parts = listed(text)
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise InputError(f"{wrong[0]!r} is not a whole number")
    return [int(part) for part in parts]


def saving_of(every: str | None, keep: int | None) -> Saving:
    """When checkpoints are taken and how many are kept.

    Example:
        >>> saving_of("500", 3), saving_of("30s", None)
        (Saving(steps=500, minutes=None, keep=3), Saving(steps=None, minutes=0.5, keep=2))
    """
    from coset.training.run import Saving

    found = Saving()
    if every is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|s)?", every.strip())
        if not match or (match[2] is None and not match[1].isdecimal()):
            raise InputError(
                "--checkpoint-every must be a number of steps, such as 1000, or a time, such as 10min or 30s, not "
                f"{every!r}"
            )
        if match[2] is None:
            found = Saving(steps=int(match[1]), minutes=None)
        else:
            found = Saving(minutes=float(match[1]) / (60 if match[2] == "s" else 1))
    return found if keep is None else replace(found, keep=keep)
