"""The embedding step of tables in few bits against that of floats: 26 tables of Criteo's cardinalities, capped.

A step is lookup, backward with a gradient given from above, the optimizer's step and `zero_grad`, by row-wise Adagrad
of `coset.optimizers`; every step takes the next of 16 batches of skewed ids, one a table. `int8` and `int4` are floats
that are rounded in lookups, with a learned step a column; `int8 alone` is codes with a step a row and no floats beside
them; `int4 by torch` is `int4` in plain torch, trained by `torch.optim.Adagrad`.

    $ python benchmarks/low_precision.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from embedding_step import CARDINALITIES, COLLISIONS, RATE, Step, draw_batch, upstream
from measuring import Row, arguments, host, in_turns, report, row, say, use_threads

STORAGES = ("float32", "bfloat16", "int8", "int4", "int8 alone", "int4 by torch")


def main() -> None:
    """Measure both methods and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--dims", type=int, nargs="+", default=[16])
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--cap", type=int, default=200_000, help="most ids in a table")
    options = parser.parse_args()
    use_threads(options.threads)
    sizes = [min(n, options.cap) for n in CARDINALITIES]
    rows: list[Row] = []
    for dim in options.dims:
        for method in ("full", "qr"):
            draw = np.random.default_rng(0)
            batches = [draw_batch(sizes, options.batch, 1, "skewed", draw).named for _ in range(16)]
            steps = {name: step_of(sizes, dim, method, name, batches, options.batch) for name in STORAGES}
            times = in_turns(steps, rounds=20 if options.quick else 60, warm_up=16, turn=8, limit=2.0)
            floats = times.pop("float32")
            words = "full" if method == "full" else f"QR at {COLLISIONS} collisions"
            case = f"d={dim}, batch={options.batch}, one-hot, row-wise Adagrad, skewed"
            rows += [row(f"{words}, {name}, {case}", "float32", taken, floats) for name, taken in times.items()]
            say("done:", method, dim)
    report("low_precision", host(options.threads, "coset", "torch", "numba"), rows, options.json)


def step_of(sizes: list[int], dim: int, method: str, name: str, batches: list[Any], count: int) -> Step:
    """A step of tables that are stored so."""
    import torch

    import coset
    from coset import optimizers

    storages: dict[str, Callable[[], coset.Storage]] = {
        "float32": coset.Dense,
        "bfloat16": lambda: coset.Dense("bfloat16"),
        "int8": lambda: coset.Packed(8),
        "int4": lambda: coset.Packed(4),
        "int8 alone": lambda: coset.Packed(8, step="row", step_dtype="float16", masters=False),
        "int4 by torch": lambda: coset.Packed(4),
    }

    def stored(n: int) -> coset.Method:
        found = coset.Full() if method == "full" else coset.QuotientRemainder(-(-n // COLLISIONS), "mult")
        return found.stored(storages[name]())

    tables = [(coset.Table(str(place), n, dim), stored(n)) for place, n in enumerate(sizes)]
    bags = coset.EmbeddingBagCollection(tables, mode="sum")
    optimizer: torch.optim.Optimizer
    if name.endswith("torch"):
        optimizer = torch.optim.Adagrad(bags.parameters(), lr=RATE)
    else:
        optimizer = optimizers.RowWiseAdagrad(bags, lr=RATE)
    turn, gradient = cycle(batches), upstream(count, dim * len(sizes))

    def step() -> None:
        bags.concatenated(next(turn)).backward(gradient)
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
