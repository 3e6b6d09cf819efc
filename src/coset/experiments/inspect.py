"""What a data set holds, and what full tables for it would cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coset import ledger
from coset.data import Attributes, Ratings, Vocabulary
from coset.documents import Json
from coset.methods.full import Full
from coset.schema import Table

_SKEWED = 20  # times the median: no scale of ratings goes so far
_OPTIMIZERS: tuple[ledger.TableOptimizerName, ...] = ("sgd", "adagrad", "adam")


def inspect(ratings: Ratings, embedding_dim: int) -> Json:
    """Cardinalities, attributes, popularity and the bytes of full tables, as plain JSON values.

    The popularity histogram of a feature groups its ids by how often they occur, in powers of two: each group
    has `from` and `to` (occurrences), `ids`, and `traffic`, the share of all rows that its ids make up. Its
    `attributes` are the columns of its ids with their numbers of distinct codes. `repeated` rows are of a user and item
    that came before, `left_out` rows were empty, `files` are the parts of a folder in the order in which they were
    read, and `notes` are sentences on what follows from these.
    """
    low, high = ratings.range
    values, counts = np.unique(ratings.ratings, return_counts=True)
    features = [
        _feature(Vocabulary.build(name, raw), attributes, embedding_dim)
        for name, raw, attributes in (
            (ratings.user_name, ratings.users, ratings.user_attributes),
            (ratings.item_name, ratings.items, ratings.item_attributes),
        )
    ]
    return {
        "dataset": ratings.name,
        "synthetic": ratings.synthetic,
        "noise_floor": ratings.noise_floor,
        "rows": len(ratings),
        "rating_range": [low, high],
        "rating_mean": float(ratings.ratings.mean(dtype=np.float64)),
        "rating_variance": float(ratings.ratings.var(dtype=np.float64)),
        "ratings": [
            {"rating": float(value), "rows": int(count)} for value, count in zip(values, counts, strict=True)
        ] if len(values) <= 20 else None,
        "repeated": ratings.repeated,
        "left_out": ratings.left_out,
        "files": list(ratings.files),
        "notes": _notes(ratings),
        "embedding_dim": embedding_dim,
        "features": features,
        "bytes": together(features, _OPTIMIZERS),
    }  # fmt: skip


def _notes(ratings: Ratings) -> list[str]:
    """What is worth a word, and what to do about it."""
    notes = []
    if count := len(ratings.files):
        first, last = ratings.files[:3], ratings.files[-1:]
        shown = ", ".join(ratings.files) if count <= 5 else f"{', '.join(first)} … {last[0]}"
        notes.append(f"read from {count:,} {'file' if count == 1 else 'files'}, in this order: {shown}")
    if ratings.left_out:
        notes.append(f"{ratings.left_out:,} rows without user, item and rating were left out")
    if ratings.repeated:
        rows = "1 row is" if ratings.repeated == 1 else f"{ratings.repeated:,} rows are"
        notes.append(
            f"{rows} of a user and item that came before: a random split keeps the rows of a pair on one side, an "
            "ordered one may train on the first and validate on the next"
        )
    low, high = ratings.range
    median = float(np.median(ratings.ratings))
    if low >= 0 and median > 0 and high >= 100 and high >= _SKEWED * median:
        notes.append(
            f"the ratings look like counts (median {median:g}, most {high:g}), of which the largest make nearly all of "
            "a squared error: train on their logarithms, such as numpy.log1p of the column"
        )
    return notes


def together(features: list[Json], optimizers: Sequence[str]) -> dict[str, int]:
    """The bytes of all features, of which there may be none."""
    keys = ("table", *(f"table_and_{name}" for name in optimizers))
    return {key: sum(of["bytes"][key] for of in features) for key in keys}


def _feature(vocabulary: Vocabulary, attributes: Attributes | None, embedding_dim: int) -> Json:
    name = vocabulary.name
    n = vocabulary.num_embeddings
    components = Full().components(Table(name, n, embedding_dim))
    table = ledger.inference_bytes(components)
    codes = {} if attributes is None else attributes.codes(vocabulary)
    return {
        "name": name,
        "num_embeddings": n,
        "attributes": {column: int(of.max()) + 1 for column, of in codes.items()},
        **popularity(vocabulary.frequencies),
        "bytes": {"table": table}
        | {f"table_and_{name}": table + ledger.optimizer_bytes(components, name) for name in _OPTIMIZERS},
    }


def popularity(frequencies: np.ndarray) -> Json:
    """What `inspect` says of how often ids occur."""
    ordered = np.sort(frequencies)[::-1]
    traffic = np.cumsum(ordered) / ordered.sum()
    n = len(ordered)
    return {
        "most": int(ordered[0]),
        "median": float(np.median(ordered)),
        "least": int(ordered[-1]),
        "traffic_of_top": {f"{share:.0%}": float(traffic[max(1, round(n * share)) - 1]) for share in (0.01, 0.1, 0.5)},
        "histogram": _histogram(ordered),
    }


def _histogram(frequencies: np.ndarray) -> list[Json]:
    total = int(frequencies.sum())
    groups: list[Json] = []
    for power in range(int(frequencies.max()).bit_length()):
        inside = frequencies[(frequencies >= 2**power) & (frequencies < 2 ** (power + 1))]
        groups.append({
            "from": 2**power, "to": 2 ** (power + 1) - 1, "ids": len(inside), "traffic": float(inside.sum() / total)
        })  # fmt: skip
    return groups
