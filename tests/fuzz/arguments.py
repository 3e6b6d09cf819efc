"""Calls of coset in Python with one or two arguments replaced: a result is finite and of the right shape, and an error
is a sentence that coset itself raises, of a documented type; but where an argument is of another sort than the one that
was replaced, as an object in the place of a number, Python's own `TypeError` or `AttributeError` will do."""

from __future__ import annotations

import linecache
from pathlib import Path
from random import Random
from typing import Any

import calls_of_data
import calls_of_tables
import numpy as np
import torch
from judge import Fault, check_sentence
from pools import N

import coset

DOCUMENTED = (ValueError, TypeError, IndexError, KeyError, FloatingPointError)
"""`InputError` is a `ValueError`."""

FOREIGN = (TypeError, AttributeError)

PACKAGE = str(Path(coset.__file__).parent)


class Arguments:
    """Calls with one or two arguments of another kind or value."""

    def __init__(self, folder: Path) -> None:
        ratings = folder / "ratings.csv"
        ratings.write_text("user,item,rating\n" + "".join(f"{at},{at % 3},{at % 5}\n" for at in range(N)))
        self.calls = [*calls_of_tables.calls(), *calls_of_data.calls(ratings)]
        for call in self.calls:
            try:
                call.check(call.run(**call.good), call.good)
            except DOCUMENTED as error:
                raise Fault(f"{call.name}: a good call is refused: {error}") from error

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One of the calls."""
        call = draw.choice(self.calls)
        given = dict(call.good)
        for name in draw.sample(sorted(call.pools), min(len(call.pools), draw.choice((1, 1, 2)))):
            given[name] = draw.choice(call.pools[name])
        torch.manual_seed(0)
        told = ", ".join(f"{name}={_brief(value)}" for name, value in given.items())
        try:
            found = call.run(**given)
        except Exception as error:
            if isinstance(error, DOCUMENTED) and _ours(error):
                check_sentence(str(error.args[0]))
                return "refused"
            if isinstance(error, FOREIGN) and any(_sort(given[name]) != _sort(of) for name, of in call.good.items()):
                return "refused"
            error.add_note(f"{call.name}({told})")
            raise
        try:
            call.check(found, given)
        except Exception as error:
            raise Fault(f"{call.name}({told}): {error}") from error
        return "taken"


def _ours(error: BaseException) -> bool:
    """Whether a statement of coset's raised it."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None:
        return False
    code = at.tb_frame.f_code.co_filename
    return code.startswith(PACKAGE) and linecache.getline(code, at.tb_lineno).strip().startswith("raise ")


def _sort(value: Any) -> str:
    """What sort of thing an argument is, as types in signatures say it."""
    sorts = {
        "flag": bool,
        "number": (int, float, np.number),
        "text": str,
        "tensor": torch.Tensor,
        "table": dict,
        "column": (np.ndarray, list, tuple),
    }
    return next((name for name, kinds in sorts.items() if isinstance(value, kinds)), type(value).__name__)


def _brief(value: Any) -> str:
    text = " ".join(repr(value).split()) if not isinstance(value, int) or value.bit_length() < 1000 else "10**400"
    return text if len(text) < 100 else f"{text[:99]}…"


def group(folder: Path) -> Arguments:
    """The group of this file."""
    return Arguments(folder)
