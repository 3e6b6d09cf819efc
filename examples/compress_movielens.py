"""A trained model made smaller, against one of that size trained from scratch, on MovieLens-1M.

The biased model of dim 16 of `ml-1m-frontier` is trained, planned for a quarter of its bytes, fitted, and trained on
for one epoch; then the same tables are trained from scratch for all epochs of the recipe. Printed are the validation
MSE of each seed, and the seconds of plan, fit and epoch as a share of those of the training from scratch.

    $ python examples/compress_movielens.py --seeds 3
"""

from __future__ import annotations

import argparse
import tempfile
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
        print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
        for seed in range(options.seeds):
            seeded, out = replace(recipe, first_seed=seed), Path(folder) / f"seed-{seed}"
            train_row(seeded, out / "full", data)
            found = compress_run(out / "full", out / "small", budget=options.budget, finetune=1)
            scratch, seconds = trained_anew(seeded, out, data)
            errors = (found["before"], found["fitted"], found["finetuned"], scratch)
            share = sum(found["seconds"].values()) / seconds
            cells = [str(seed), *(format(of["val_mse"], ".4f") for of in errors), f"{share:.1%}"]
            print(f"| {' | '.join(cells)} |", flush=True)
        print(f"\n{found['bytes_before']:,} → {found['bytes']:,} bytes")


def trained_anew(recipe: Any, out: Path, data: Any) -> tuple[dict[str, Any], float]:
    """The last evaluation of the tables of the compressed run, trained from scratch, and the seconds of that."""
    spec = FinishedRun.load(out / "small").spec
    encoded = spec.task.encoded(data, spec.seed)
    started = perf_counter()
    metrics = execute(spec, out / "scratch", data, encoded=encoded)
    return metrics["history"][-1], perf_counter() - started


if __name__ == "__main__":
    main()
