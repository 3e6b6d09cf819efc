"""A trained model made smaller, against one of that size trained from scratch, on MovieLens-1M.

The biased model of dim 16 of `ml-1m-frontier` is trained, planned for a quarter of its bytes, fitted, and trained on
for one epoch, all in floats; then the same tables are trained from scratch for all epochs of the recipe. Printed are
the validation MSE of each seed, and the seconds of plan, fit and epoch as a share of those of the training from
scratch. A second table has the same models in few bits a number, fitted within several budgets and not trained further.

    $ python examples/compress_movielens.py --seeds 3
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from coset.experiments.compress import compress_run
from coset.experiments.recipe import load_recipe
from coset.experiments.train import train_row
from coset.training.finished import FinishedRun
from coset.training.run import execute

IN_BITS = ("25%", "10%", "5%", "3%")
HEADINGS = ("seed", "before", "fitted", "and one epoch", "from scratch", "time")


def main() -> None:
    """Train, compress and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", default="25%", help="of the trained model, or bytes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = replace(load_recipe("ml-1m-frontier"), only=("narrow d=16",))
    with tempfile.TemporaryDirectory() as folder:
        data = recipe.task.load(Path(folder))
        print(_heads(HEADINGS))
        packed = []
        for seed in range(options.seeds):
            seeded, out = replace(recipe, first_seed=seed), Path(folder) / f"seed-{seed}"
            train_row(seeded, out / "full", data)
            found = compress_run(out / "full", out / "small", budget=options.budget, storages=["float32"], finetune=1)
            scratch, seconds = trained_anew(seeded, out, data)
            errors = (found["before"], found["fitted"], found["finetuned"], scratch)
            share = sum(found["seconds"].values()) / seconds
            cells = [str(seed), *(format(of["val_mse"], ".4f") for of in errors), f"{share:.1%}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            packed.append(in_bits(seed, out))
        print(f"\n{found['bytes_before']:,} → {found['bytes']:,} bytes\n")
        print(_heads(("seed", "before", *IN_BITS)), *packed, sep="\n")


def in_bits(seed: int, out: Path) -> str:
    """A row of the second table: the trained model of a seed in few bits."""
    each = [compress_run(out / "full", out / f"packed-{budget}", budget=budget) for budget in IN_BITS]
    errors = (each[0]["before"], *(found["fitted"] for found in each))
    return f"| {' | '.join([str(seed), *(format(of['val_mse'], '.4f') for of in errors)])} |"


def _heads(names: Sequence[str]) -> str:
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def trained_anew(recipe: Any, out: Path, data: Any) -> tuple[dict[str, Any], float]:
    """The last evaluation of the tables of the compressed run, trained from scratch, and the seconds of that."""
    spec = FinishedRun.load(out / "small").spec
    encoded = spec.task.encoded(data, spec.seed)
    started = perf_counter()
    metrics = execute(spec, out / "scratch", data, encoded=encoded)
    return metrics["history"][-1], perf_counter() - started


if __name__ == "__main__":
    main()
