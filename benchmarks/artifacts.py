"""Artifacts: models of ratings on disk, read by NumPy alone, beside the same models in torch.

The first row is about the model of `ml-1m-hundred` that takes a hundredth of the full table of the Keras example: the
bytes of its artifact, and the ten best films of all users, as `coset-runtime` finds them and as torch does, by the
model's scores of all pairs. `differing` counts the users whose films are not the same in the same order, and `ties`
those among them where only films change places whose scores in torch lie within 10⁻⁵ of each other. The time of torch
is that of widening all tables, one product of matrices and `topk`.

Then comes a cold start: a fresh process that imports, loads an artifact of 10⁶ items in 64 dims of 8 bits and
recommends ten of them to one user, beside one that does so in torch; and 64 users at a time, their 100 best of these
items.

    $ python benchmarks/artifacts.py [--run RUN] [--quick]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from measuring import Row, arguments, host, in_turns, report, row, say, use_threads

ROOT = Path(__file__).parents[1]
ROW, SEED = "bits 24949", 0
NEAR = 1e-5
COLD = """
import json, time
begin = time.perf_counter()
import {module}
imported = time.perf_counter()
{code}
print(json.dumps([1000 * (imported - begin), 1000 * (time.perf_counter() - begin)]))
"""
RUNTIME = """
model = coset_runtime.load({folder!r})
model.recommend({user!r}, 10)
"""
TORCH = """
import torch
found = coset.load_artifact({folder!r})
user, items = torch.tensor([{place}]), torch.arange({items})
with torch.no_grad():
    found.model(user.expand(len(items)), items).prediction.topk(10)
"""


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, help=f"a finished run of row {ROW!r} of ml-1m-hundred; trained by default")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the items of the large model")
    given = parser.parse_args()
    use_threads(given.threads)
    sys.path.insert(0, str(ROOT / "runtime" / "src"))
    with tempfile.TemporaryDirectory() as folder:
        rows = list(films(given.run or trained(Path(folder) / "run"), Path(folder) / "films"))
        items = 10_000 if given.quick else 1_000_000
        rows += many(Path(folder) / "many", items)
    report("artifacts", host(given.threads), rows, given.json)


def trained(out: Path) -> Path:
    """A run of the row, trained here, which takes minutes."""
    say(f"training {ROW!r} of ml-1m-hundred")
    words = ["train", "ml-1m-hundred", "--row", ROW, "--seed", str(SEED), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "coset.cli", *words], check=True, stdout=sys.stderr)
    return out


def films(run: Path, folder: Path) -> list[Row]:
    """The ten best films of all users."""
    import torch

    import coset_runtime
    from coset import load_artifact
    from coset.artifact import export_run
    from coset.engine.reading import by_torch_alone

    told = export_run(run, folder)
    found, runtime = load_artifact(folder), coset_runtime.load(folder)
    users, items = (found.ids[found.manifest["model"][role]["vocabulary"]] for role in ("user", "item"))
    every, at_once = torch.arange(len(items)), 64

    def in_torch() -> Any:
        parts = torch.arange(len(users)).split(at_once)
        with torch.no_grad(), by_torch_alone():  # without kernels, which would be compiled first
            scores = [
                found.model(part.repeat_interleave(len(items)), every.repeat(len(part))).prediction.double()
                for part in parts
            ]
        return torch.cat(scores).reshape(len(users), len(items)).numpy()

    scores = in_torch()
    order = np.stack([np.lexsort((np.arange(len(items)), -of)) for of in scores])[:, :10]
    best = runtime.recommend(users, 10)
    place = {raw: at for at, raw in enumerate(items.tolist())}
    chosen = np.array([place[raw] for raw in best.items.tolist()]).reshape(len(users), 10)
    differing = np.flatnonzero((chosen != order).any(1))
    taken = [np.take_along_axis(scores[differing], of[differing], 1) for of in (chosen, order)]
    ties = int((np.abs(taken[0] - taken[1]).max(1, initial=0) <= NEAR).sum())
    steps = {"coset": lambda: runtime.recommend(users, 10), "torch": lambda: by_matrices(found.model)}
    times = in_turns(steps, rounds=5, warm_up=1, limit=20)
    size, files = found.manifest["bytes"], told["files"]
    more = {"model_bytes": size["model"], "tables_file": files["tables.safetensors"],
            "vocabularies": size["vocabularies"], "vocabularies_file": files["vocabularies.safetensors"],
            "manifest": files["manifest.json"], "differing": len(differing), "ties": ties}  # fmt: skip
    return [row(f"ten films of {len(users):,} users", "torch, widened, topk", times["coset"], times["torch"], **more)]


def by_matrices(model: Any) -> Any:
    """The ten best of all users in torch: all tables widened, one product of matrices, and `topk`."""
    import torch

    users, items = (model.embeddings.tables[of.name].materialize() for of in (model.user, model.item))
    with torch.no_grad():
        scores = users @ items.t() + model.biases.tables[model.item.name].materialize().reshape(1, -1)
        return scores.topk(10)


def many(folder: Path, items: int) -> list[Row]:
    """A cold start with many items, and many users at a time."""
    import coset_runtime

    write(folder, 10_000, items)
    model = coset_runtime.load(folder)
    users = model.vocabularies["user"].raw(np.arange(64))
    user = users[0].item()
    codes = {
        "coset_runtime": RUNTIME.format(folder=str(folder), user=user),
        "coset": TORCH.format(folder=str(folder), place=0, items=items),
    }
    cold = {module: started(module, code) for module, code in codes.items()}
    alone = in_turns({"batch": lambda: model.recommend(users, 100)}, rounds=5, warm_up=1, limit=60)["batch"]
    together = in_turns({"one": lambda: model.recommend(user, 100)}, rounds=5, warm_up=1, limit=60)["one"]
    case = f"{items:,} items of 64 × 8 bits"
    return [
        row(
            f"{case}: cold start",
            "coset in torch",
            cold["coset_runtime"][1],
            cold["coset"][1],
            import_ms=cold["coset_runtime"][0],
        ),
        row(f"{case}: 64 users, 100 best", "64 calls of one user", alone, 64 * together),
    ]


def write(folder: Path, users: int, items: int) -> None:
    """An artifact of random vectors, 64 dims of 8 bits."""
    import torch

    from coset import DotModel, Full, Packed, Table, ledger, pack_
    from coset.artifact.writing import write_artifact
    from coset.data import Vocabulary
    from coset.data.settings import DataSettings
    from coset.models.dot import DotSettings
    from coset.tasks.ratings.served import served

    torch.manual_seed(0)
    packed = Full(storage=Packed(8))
    settings = DotSettings(embedding_dim=64, biases=True, output="linear", low=1.0, high=5.0)
    tables = Table("user", users, 64), Table("item", items, 64)
    model = pack_(DotModel(*tables, {"user": packed, "item": packed}, settings, 3.5)).eval()
    draw = np.random.default_rng(0)
    known = [Vocabulary(of.name, draw.permutation(3 * of.num_embeddings)[: of.num_embeddings],
                        np.zeros(of.num_embeddings, np.int64)) for of in tables]  # fmt: skip
    facts = {
        "title": "random vectors", "task": "ratings", "data": {"dataset": "none", "licence": None, "fingerprint": {}},
        "scores": {"seed": 0, "seeds": [0], "spread": None, "metrics": {}, "rows": {"training": 0, "validation": 0}},
    }  # fmt: skip
    size = ledger.inference_bytes(model.components())
    write_artifact(folder, model, served(model, DataSettings("none"), (known[0], known[1])), facts, size)


def started(module: str, code: str, times: int = 5) -> list[float]:
    """Median milliseconds of the import, and of all of it, in fresh processes."""
    paths = os.pathsep.join((str(ROOT / "runtime" / "src"), str(ROOT / "src")))
    text, found = COLD.format(module=module, code=code), []
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", text], env={**os.environ, "PYTHONPATH": paths},
                              stdout=subprocess.PIPE, check=True)  # fmt: skip
        found.append(json.loads(done.stdout))
    return [float(of) for of in np.median(found, axis=0)]


if __name__ == "__main__":
    main()
