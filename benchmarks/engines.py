"""The two engines of coset on the same training: epochs of dot models on MovieLens-1M, by torch and by kernels.

The peer is coset itself with `--engine plain`: torch, autograd and a dense optimizer, batch by batch. Rows of the
shipped recipes, seed 0; an epoch of one, then one of the other; without validation. A second figure is what kernels
cost before they do anything: the time of a process's first step beyond that of its second, on a machine that has
never run them ("first use"), and later.

    $ python benchmarks/engines.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from statistics import median
from typing import Any

from measuring import Row, arguments, host, report, row, say, use_threads

CASES = (
    ("keras-example", "full"),
    ("keras-example", "QR + MD (page's layout)"),
    ("ml-1m-frontier", "full"),
    ("ml-1m-frontier", "QR mult"),
)
EPOCHS = 3
FIRST_STEP = """
import time, torch
from coset import EmbeddingBagCollection, QuotientRemainder, Table
from coset.optimizers import RowWiseAdagrad
def step():
    begin = time.perf_counter()
    bags.concatenated(torch.zeros(1, 10000, dtype=torch.int64)).sum().backward()
    optimizer.step()
    return time.perf_counter() - begin
torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # torch's own first optimizer takes a second
begin = time.perf_counter()
bags = EmbeddingBagCollection([(Table("page", 1000, 16), QuotientRemainder(100))])
optimizer = RowWiseAdagrad(bags)
made = time.perf_counter() - begin
print(made + step() - step())
"""


def main() -> None:
    """Measure every case and print a table, or JSON."""
    options = arguments(__doc__, threads=1).parse_args()
    use_threads(options.threads)
    rows = [*starts(), *epochs()]
    report("engines", host(options.threads, "coset", "torch", "numba"), rows, options.json)


def starts() -> list[Row]:
    """Milliseconds until kernels are ready; there is no peer, so its figure is what is asked: 30 s, and 1.5 s."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COSET_CACHE": folder, "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
        taken = [
            1000 * float(subprocess.run([sys.executable, "-c", FIRST_STEP], env=environment, capture_output=True,
                                        text=True, check=True).stdout)
            for _ in range(4)
        ]  # fmt: skip
    return [
        row("kernels ready, first use on a machine", "at most", taken[0], 30_000),
        row("kernels ready, a later process", "at most", median(taken[1:]), 1_500),
    ]


def epochs() -> list[Row]:
    """Milliseconds of an epoch by both engines."""
    from coset.data import DataNotFound, load_ratings

    try:
        ratings = load_ratings("movielens-1m")
    except DataNotFound as error:
        say(f"SYNTHETIC DATA: every figure is of made-up ratings, as {error}")
        ratings = load_ratings("synthetic-ratings")
    rows = []
    for recipe, name in CASES:
        trainers = {engine: trainer(recipe, name, ratings, engine) for engine in ("plain", "fused")}
        for _ in range(EPOCHS):
            for engine, each in trainers.items():
                say(f"{recipe}, {name}, {engine}: {epoch(each)}")
        times = {e: 1000 * median(epoch["seconds"] for epoch in t.history) for e, t in trainers.items()}
        batch = trainers["plain"].settings.batch_size
        case = f"epoch, {recipe}, {name}, batch={batch}, {ratings.name}"
        rows.append(row(case, "engine plain", times["fused"], times["plain"]))
    return rows


def trainer(recipe: str, name: str, ratings: Any, engine: Any) -> Any:
    """A fresh trainer of a row of a recipe; a small one has run, so that kernels are ready."""
    from dataclasses import replace

    import torch

    from coset.experiments.recipe import load_recipe
    from coset.experiments.resolve import resolve
    from coset.tasks.ratings import RatingsPart
    from coset.training.trainer import Trainer

    chosen = replace(load_recipe(recipe), only=(name,))
    encoded = chosen.task.encoded(ratings, 0)
    found = resolve(chosen, encoded)[0][-1]
    task = found.task.changed("training", {"epochs": EPOCHS})
    training = task.part(encoded, "training")
    few = RatingsPart(training.ratings.take(torch.arange(1000)))
    for part in (few, training):
        made = Trainer(task, found.spec(0).build(encoded), part, few, 0, engine)
        if part is few:
            epoch(made)
    return made


def epoch(trainer: Any) -> Any:
    """The evaluation at the end of the next epoch, which is trained."""
    return next(step.evaluation for step in trainer.run() if step.evaluation is not None)


if __name__ == "__main__":
    main()
