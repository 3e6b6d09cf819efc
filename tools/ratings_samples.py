"""Samples of MovieLens-1M: the planned model beside bias only and ridge bias, where there are few ratings.

    $ python -m tools.ratings_samples [--rows 10000 100000] [--by user item time] [--seeds 5] [--out FOLDER] [--json]

A sample has all ratings of users drawn at random, or of items, until there are so many; or so many that follow each
other in time, from a place drawn at random. A seed draws the sample, its split and all weights. Each is compared as
`coset compare FILE --methods hashing,low_rank --budgets 10%` compares a file: coset sees neither the rest of the data
nor their name, and settings are chosen by default. `behind` is by how much the planned row is worse than the better of
bias only and ridge bias, as a share of that error; negative where it is better.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from coset.data import Ratings, load_ratings
from coset.data.attributes import rows_by_id
from coset.errors import InputError
from coset.experiments.compare import compare
from coset.experiments.recipe import recipe_for
from coset.training.run import Options

WAYS = ("user", "item", "time")
ROWS = ("constant", "ridge bias", "bias only", "full", "planned")
BUDGET = "10%"


def sample(ratings: Ratings, by: str, rows: int, seed: int) -> Ratings:
    """About so many of these ratings, in the order of the file."""
    draw = np.random.default_rng([seed, rows, WAYS.index(by)])
    if by == "time":
        assert ratings.times is not None
        order = np.argsort(ratings.times, kind="stable")
        first = int(draw.integers(0, len(order) - rows + 1))
        kept = np.sort(order[first : first + rows])
    else:
        ids, values = rows_by_id(ratings.users if by == "user" else ratings.items)
        order = draw.permutation(len(values))
        upto = int(np.searchsorted(np.cumsum(np.bincount(ids)[order]), rows)) + 1
        kept = np.flatnonzero(np.isin(ids, order[:upto]))
    return Ratings("sample", ratings.users[kept], ratings.items[kept], ratings.ratings[kept])


def compared(ratings: Ratings, seed: int, out: Path) -> dict[str, Any]:
    """The errors of the rows by name, `behind`, and what was chosen."""
    recipe = recipe_for("ratings", {"source": "sample"}, ["hashing", "low_rank"], [BUDGET])
    recipe = replace(recipe, first_seed=seed, only=tuple(row.name for row in recipe.rows if row.name in ROWS))
    results = compare(recipe, out, ratings, options=Options(resume=True))
    found = {row["name"].removesuffix(f" {BUDGET}"): row["metrics"]["val_mse"]["mean"] for row in results["rows"]}
    plain = min(found["ridge bias"], found["bias only"])
    return {**found, "behind": found["planned"] / plain - 1, "notes": results["notes"]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--by", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="for the comparisons; one that is there is continued")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")
    given = parser.parse_args(arguments)
    ratings = load_ratings("movielens-1m", time=True)
    every = []
    with tempfile.TemporaryDirectory() as scratch:
        for rows in given.rows:
            for by in given.by:
                of_seeds = []
                for seed in range(given.seeds):
                    out = (given.out or Path(scratch)) / f"{by}-{rows}-{seed}"
                    of_seeds.append(compared(sample(ratings, by, rows, seed), seed, out))
                every.append({"by": by, "rows": rows, "seeds": of_seeds})
                if not given.json:
                    print(_line(every[-1], header=len(every) == 1), flush=True)
    if given.json:
        print(json.dumps({"samples": every}, indent=2))


def _line(found: dict[str, Any], header: bool) -> str:
    of_seeds = found["seeds"]
    cells = [f"{fmean(of[name] for of in of_seeds):.4f}" for name in ROWS]
    behind = [100 * of["behind"] for of in of_seeds]
    spread = f" ± {stdev(behind):.2f}" if len(behind) > 1 else ""
    line = f"| {found['by']} | {found['rows']:,} | " + " | ".join(cells)
    line += f" | {fmean(behind):+.2f} %{spread} | {max(behind):+.2f} % |"
    names = ["drawn by", "ratings", *ROWS, "behind", "at most"]
    rule = ["---", "--:"] + ["--:"] * (len(names) - 2)
    return "\n".join(["| " + " | ".join(names) + " |", "|" + "|".join(rule) + "|", line] if header else [line])


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"ratings_samples: {error}", file=sys.stderr)
        sys.exit(2)
