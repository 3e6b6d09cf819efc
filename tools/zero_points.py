"""What a zero point a column would gain: the squares that rounding loses, with levels about 0 and with levels anywhere.

    $ python -m tools.zero_points runs/*/model.safetensors [--bits 8 4 3 2] [--json]

`coset.Packed` has a step a column, whose levels lie about 0. With a zero point they lie anywhere, which takes 16 bits
more a column, and there is one level more where bits are 3 or more. Both are fitted by least squares: the steps as
coset searches them; steps and zero points by turns, from several starts, where codes are the nearest levels. Every
array of floats with two dimensions and 64 rows or more counts, and a line of the table is the sum over those of a file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from coset.storage.levels import Levels, least_squares_steps

_ROWS = 64
"""Arrays of fewer rows are left out: a step of one of these is not fitted to much."""
_STARTS, _RATIO, _TURNS = 12, 0.85, 30
"""Starts of the fit with a zero point, each by this ratio narrower than the last; and how often it is turned."""


def about_zero(numbers: Tensor, bits: int) -> float:
    """The squares that are lost with levels about 0."""
    levels = Levels([bits] * numbers.shape[1])
    steps = least_squares_steps(numbers, levels, (0,), None)
    return float((levels.values(levels.codes(numbers, steps), steps) - numbers).square().sum())


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
    rows = []
    for file in given.files:
        found = list(arrays(file))
        whole = sum(float(each.square().sum()) for each in found)
        if not whole:
            sys.exit(f"{file}: holds no array of {_ROWS} rows or more that are not all 0")
        for bits in given.bits:
            lost = [sum(by(each, bits) for each in found) / whole for by in (about_zero, anywhere)]
            rows.append({"file": str(file), "bits": bits, "about_zero": lost[0], "anywhere": lost[1]})
    if given.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'bits':>4} {'about zero':>12} {'anywhere':>12}  file")
    for row in rows:
        print(f"{row['bits']:4} {row['about_zero']:12.3e} {row['anywhere']:12.3e}  {row['file']}")


if __name__ == "__main__":
    main()
