"""What other levels would gain: the squares that rounding loses with levels about 0, between steps, and anywhere.

    $ python -m tools.levels runs/*/model.safetensors [--bits 8 4 3 2] [--json]

`coset.Packed` has a step a column, whose levels lie about 0: of 3 bits and more, 0 is one of them, so that they are one
less than codes could tell apart. *Half steps* are ±½, ±1½ … as coset has them for 1 and 2 bits: one level more, and no
0. With a zero point levels lie *anywhere*, which takes 16 bits more a column. All are fitted by least squares: steps as
coset searches them; steps and zero points by turns, from several starts. Every array of floats with two dimensions and
64 rows or more counts, and a line of the table is the sum over those of a file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from coset.storage.levels import Levels, least_squares_steps

_ROWS = 64
"""Arrays of fewer rows are left out: a step of one of these is not fitted to much."""
_STARTS, _RATIO, _TURNS = 12, 0.85, 30
"""Starts of the fit with a zero point, each by this ratio narrower than the last; and how often it is turned."""


class HalfSteps(Levels):
    """As many levels as codes can tell apart, evenly about 0."""

    def __init__(self, bits: Sequence[int]) -> None:
        super().__init__(bits)
        self._top = [2**each - 1 for each in bits]


def about_zero(numbers: Tensor, bits: int, kind: type[Levels] = Levels) -> float:
    """The squares that are lost with levels about 0."""
    levels = kind([bits] * numbers.shape[1])
    steps = least_squares_steps(numbers, levels, (0,), None)
    return float((levels.values(levels.codes(numbers, steps), steps) - numbers).square().sum())


def half_steps(numbers: Tensor, bits: int) -> float:
    """The squares that are lost with one level more, and no 0."""
    return about_zero(numbers, bits, HalfSteps)


def anywhere(numbers: Tensor, bits: int) -> float:
    """The squares that are lost with a zero point a column."""
    top, least = 2**bits - 1, torch.full(numbers.shape[1:], torch.inf, dtype=numbers.dtype)
    low, high = numbers.aminmax(dim=0)
    middle, width = (low + high) / 2, ((high - low) / top).clamp_min(1e-30)
    for start in range(_STARTS):
        step = width * _RATIO**start
        zero = middle - step * top / 2
        for _ in range(_TURNS):
            codes = ((numbers - zero) / step).round().clamp(0, top)
            least = torch.minimum(least, (codes * step + zero - numbers).square().sum(0))
            mean, spread = codes.mean(0), codes.var(0, unbiased=False)
            slope = ((codes - mean) * numbers).mean(0) / spread.clamp_min(1e-12)
            step = torch.where(slope > 0, slope, step)
            zero = numbers.mean(0) - step * mean
    return float(least.sum())


WAYS: tuple[Callable[[Tensor, int], float], ...] = about_zero, half_steps, anywhere


def arrays(file: Path) -> Iterator[Tensor]:
    """The arrays of floats of a file that count."""
    with safe_open(file, "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - not a mapping
            found = opened.get_tensor(name)
            if found.dim() == 2 and found.is_floating_point() and len(found) >= _ROWS:
                yield found.double()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="safetensors with trained tables")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4, 3, 2], choices=range(1, 9))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for file in given.files:
        found = list(arrays(file))
        whole = sum(float(each.square().sum()) for each in found)
        if not whole:
            sys.exit(f"{file}: holds no array of {_ROWS} rows or more that are not all 0")
        for bits in given.bits:
            lost = {by.__name__: sum(by(each, bits) for each in found) / whole for by in WAYS}
            rows.append({"file": str(file), "bits": bits, **lost})
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print("bits", *(f"{by.__name__.replace('_', ' '):>12}" for by in WAYS), " file")
    for row in rows:
        print(f"{row['bits']:4}", *(f"{row[by.__name__]:12.3e}" for by in WAYS), f" {row['file']}")


if __name__ == "__main__":
    main()
