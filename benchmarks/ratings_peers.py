"""Rating models that a user would pick, by their own defaults, beside coset's, on one split of MovieLens-1M.

The split is that of coset's seed 0: 85 % of the ratings train, at random. Each peer is fitted to the training part
with no setting changed but its seed, and scored on the other ratings; those of an id that it has not seen are predicted
as the mean of the training part, and predictions are cut to the range of ratings. coset is fitted twice: by the recipe
`ml-1m-fast`, and by the first row of `ml-1m-frontier`. A row compares a peer with the first of these whose error is no
larger and whose bytes are no more. Every model has a process of its own and one thread. Times are from columns of ids
and ratings in memory to a model, with what a library makes of these data first; those of the fits alone stand beside
them (`fit ms`). Bytes are those of the numbers that a model needs to predict, as it holds them. coset's kernels are
compiled before. The settings of `ml-1m-fast` were chosen on 5 % of the training part.

    $ python benchmarks/ratings_peers.py --json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from measuring import Row, arguments, host, report, row, say, use_threads

PACKAGES = "cornac", "lenskit", "lenskit-funksvd", "scikit-surprise", "coset", "torch", "numpy", "numba"
COLUMNS = "users", "items", "ratings"
OWN = {"coset ml-1m-fast": ("ml-1m-fast", "full"), "coset ml-1m-frontier": ("ml-1m-frontier", "full")}
"""coset's fits, the cheapest first: a recipe and a row of it."""

Part = dict[str, np.ndarray]
Fitted = tuple[float, float, int, np.ndarray]
"""Seconds that the data took and the fit, bytes of the model, and predictions of the validation part."""


def main() -> None:
    """Fit every model in a process of its own and print a table, or JSON."""
    parser = arguments(__doc__, threads=1)
    parser.add_argument("--models", help="only these, separated by commas")
    parser.add_argument("--rows", type=int, help="so many ratings only, drawn at random, for a quick look")
    parser.add_argument("--rounds", type=int, default=3, help="fits of each, whose median time counts; in turns")
    parser.add_argument("--model", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    use_threads(options.threads)
    if options.model:
        print(json.dumps(fitted(options.model, Path(options.folder))))
        return
    names = options.models.split(",") if options.models else [*OWN, *PEERS]
    if unknown := [name for name in names if name not in {**OWN, **PEERS}]:
        sys.exit(f"{unknown[0]}: no such model; there are {', '.join([*OWN, *PEERS])}")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), options.rows)
        for _ in range(options.rounds):
            for name in names:
                words = [sys.executable, __file__, "--model", name, "--folder", folder]
                done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
                if done.returncode:
                    say(f"{name}: not measured, as it ended with code {done.returncode}")
                    continue
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                say(f"{name}: {found[name][-1]}")
    report("ratings_peers", host(options.threads, *PACKAGES), rows_of(found), options.json)


def rows_of(found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """A row for each peer: beside the first fit of coset that is as good and as small, or else its last."""
    middle = {name: sorted(of, key=_whole)[len(of) // 2] for name, of in found.items() if of}
    ours = {name: of for name, of in middle.items() if name in OWN}
    rows = []
    for name, peer in middle.items():
        if name in OWN or not ours:
            continue
        ahead = [one for one, of in ours.items() if of["val_mse"] <= peer["val_mse"] and of["bytes"] <= peer["bytes"]]
        best = (ahead or list(ours))[0]
        own = ours[best]
        rows.append(row(
            f"{best} and {name}", name, 1000 * _whole(own), 1000 * _whole(peer),
            coset_mse=round(own["val_mse"], 4), peer_mse=round(peer["val_mse"], 4), coset_bytes=own["bytes"],
            peer_bytes=peer["bytes"], coset_fit_ms=round(1000 * own["seconds"]),
            peer_fit_ms=round(1000 * peer["seconds"]),
        ))  # fmt: skip
    return rows


def _whole(fit: dict[str, Any]) -> float:
    """Seconds of a fit with those that its data took before."""
    return float(fit["data"] + fit["seconds"])


def save(folder: Path, rows: int | None) -> None:
    """Write the ratings and their split, by table id, where every model reads them."""
    from coset.data import DataNotFound, encode, load_ratings, random_split

    try:
        ratings = load_ratings("movielens-1m")
    except DataNotFound as error:
        say(f"SYNTHETIC DATA: every figure is of made-up ratings, as {error}")
        ratings = load_ratings("synthetic-ratings")
    if rows is not None:
        ratings = ratings.select(np.sort(np.random.default_rng(0).permutation(len(ratings))[:rows]))
    split = random_split(len(ratings), 0.15, 0, ratings.pairs)
    encoded = encode(ratings, split)
    columns = zip(COLUMNS, (encoded.users, encoded.items, encoded.targets), strict=True)
    for name, values in columns:
        for part in ("training", "validation"):
            np.save(folder / f"{part}_{name}.npy", values.numpy()[getattr(split, part)])


def fitted(name: str, folder: Path) -> dict[str, Any]:
    """One model, fitted and scored in this process."""
    training, validation = (
        {column: np.load(folder / f"{part}_{column}.npy") for column in COLUMNS} for part in ("training", "validation")
    )
    fit = PEERS[name] if name in PEERS else partial(own, name)
    data, seconds, size, predicted = fit(training, validation)
    mean = float(training["ratings"].mean(dtype=np.float64))
    low, high = training["ratings"].min(), training["ratings"].max()
    predicted = np.clip(np.where(np.isnan(predicted), mean, predicted), low, high)
    gaps = predicted.astype(np.float64) - validation["ratings"]
    return {"data": data, "seconds": seconds, "bytes": size, "val_mse": float(np.square(gaps).mean()),
            "val_mae": float(np.abs(gaps).mean())}  # fmt: skip


def own(name: str, training: Part, validation: Part) -> Fitted:
    """A row of a recipe of coset."""
    from coset import ledger
    from coset.data import Ratings
    from coset.data.encoded import encode
    from coset.data.splits import Split
    from coset.experiments.recipe import load_recipe
    from coset.experiments.resolve import resolve
    from coset.tasks.ratings.metrics import predicted
    from coset.training.trainer import Trainer

    recipe, first = OWN[name]
    count = len(training["ratings"])
    both = [np.concatenate([training[column], validation[column]]) for column in COLUMNS]
    begin = time.perf_counter()
    ratings = Ratings("movielens-1m", *both, item_name="movie")
    split = Split(np.arange(count), np.arange(count, len(ratings)), "random")
    encoded = encode(ratings, split)
    known = replace(load_recipe(recipe), only=(first,))
    spec = resolve(known, encoded)[0][0].spec(0)
    parts = [spec.task.part(encoded, part) for part in ("training", "validation")]
    data = time.perf_counter() - begin

    def trained(epochs: int | None) -> tuple[float, Any]:
        task = spec.task if epochs is None else spec.task.changed("training", {"epochs": epochs})
        begin = time.perf_counter()
        model = replace(spec, task=task).build(encoded)
        trainer = Trainer(task, model, *parts, spec.seed, "fused")
        built = time.perf_counter() - begin
        for _ in trainer.run():
            pass
        return built + sum(epoch["seconds"] for epoch in trainer.history), model

    trained(1)  # compiles
    seconds, model = trained(None)
    size = ledger.inference_bytes(spec.task.stored(model)[0])
    users, items = encoded.users[split.validation], encoded.items[split.validation]
    return data, seconds, size, predicted(model, users, items).numpy()


def cornac(training: Part, validation: Part) -> Fitted:
    """Matrix factorisation with biases by SGD."""
    import cornac as library

    begin = time.perf_counter()
    triples = list(zip(*(training[column].tolist() for column in COLUMNS), strict=True))
    data = library.data.Dataset.from_uir(triples, seed=0)
    made = time.perf_counter()
    model = library.models.MF(seed=0).fit(data)
    end = time.perf_counter()
    ids = zip(validation["users"].tolist(), validation["items"].tolist(), strict=True)
    known = ((data.uid_map.get(user), data.iid_map.get(item)) for user, item in ids)
    found = [np.nan if user is None or item is None else model.rate(user, item) for user, item in known]
    arrays = model.u_factors, model.i_factors, model.u_biases, model.i_biases
    return made - begin, end - made, _bytes(*arrays) + 4, np.array(found)


def surprise(training: Part, validation: Part) -> Fitted:
    """SVD with biases by SGD."""
    import pandas
    import surprise as library

    begin = time.perf_counter()
    scale = library.Reader(rating_scale=(float(training["ratings"].min()), float(training["ratings"].max())))
    frame = pandas.DataFrame(training)[list(COLUMNS)]
    data = library.Dataset.load_from_df(frame, scale).build_full_trainset()
    made = time.perf_counter()
    model = library.SVD(random_state=0).fit(data)
    end = time.perf_counter()
    found = [model.predict(int(user), int(item)).est
             for user, item in zip(validation["users"], validation["items"], strict=True)]  # fmt: skip
    return made - begin, end - made, _bytes(model.pu, model.qi, model.bu, model.bi) + 8, np.array(found)


def _lenskit(make: Callable[[], Any]) -> Callable[[Part, Part], Fitted]:
    def fit(training: Part, validation: Part) -> Fitted:
        import pandas
        from lenskit.data import ItemList, RecQuery, from_interactions_df

        begin = time.perf_counter()
        columns = dict(zip(("user_id", "item_id", "rating"), (training[name] for name in COLUMNS), strict=True))
        data = from_interactions_df(pandas.DataFrame(columns))
        made = time.perf_counter()
        model = make()
        model.train(data)
        end = time.perf_counter()
        found = np.full(len(validation["users"]), np.nan)
        rows = defaultdict(list)
        for at, user in enumerate(validation["users"].tolist()):
            rows[user].append(at)
        known = set(training["users"].tolist())
        for user, at in rows.items():
            query = RecQuery(user_id=user, user_items=data.user_row(user) if user in known else None)
            found[at] = model(query, ItemList(item_ids=validation["items"][at])).scores()
        return made - begin, end - made, _held(model), found

    return fit


def _funksvd() -> Any:
    from lenskit.funksvd import FunkSVDScorer

    return FunkSVDScorer()


def _biased_mf() -> Any:
    from lenskit.als import BiasedMFScorer

    return BiasedMFScorer()


def _item_knn() -> Any:
    from lenskit.knn import ItemKNNScorer

    return ItemKNNScorer(feedback="explicit")  # of ratings; it has no other default for them


PEERS: dict[str, Callable[[Part, Part], Fitted]] = {
    "Cornac MF": cornac,
    "LensKit FunkSVD": _lenskit(_funksvd),
    "LensKit BiasedMF": _lenskit(_biased_mf),
    "LensKit ItemKNN": _lenskit(_item_knn),
    "Surprise SVD": surprise,
}


def _bytes(*arrays: Any) -> int:
    return int(sum(np.asarray(array).nbytes for array in arrays))


def _held(model: Any, seen: set[int] | None = None) -> int:
    """Bytes of all arrays that a model holds, of numpy and torch and of Arrow, each once; not of its vocabularies."""
    seen = set() if seen is None else seen
    total = 0
    for name, value in vars(model).items():
        if id(value) in seen or name in ("users", "items"):
            continue
        seen.add(id(value))
        if isinstance(getattr(value, "nbytes", None), int):
            total += value.nbytes
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            total += _held(value, seen)
    return total


if __name__ == "__main__":
    main()
