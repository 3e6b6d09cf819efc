"""What a prepared click log holds, and what full tables for it would cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coset import ledger
from coset.data.clicks import ClickData
from coset.documents import Json
from coset.errors import InputError
from coset.experiments.inspect import popularity, together
from coset.files import check_writable
from coset.methods.full import Full
from coset.progress import Progress
from coset.schema import Table
from coset.tasks.clicks import ClickSource

_TABLE_OPTIMIZERS: tuple[ledger.TableOptimizerName, ...] = ("adagrad", "row_wise_adagrad", "lazy_adam")
_UNKNOWN = {"most": None, "median": None, "least": None, "traffic_of_top": None, "histogram": None}


def load_clicks(source: str, columns: Mapping[str, object], progress: Progress | None = None) -> ClickData:
    """A prepared folder, or a built-in log, which is prepared below `runs` first.

    Raises:
        InputError: there are no such data, or columns are named, which are of ratings.
    """
    if any(columns.values()):
        raise InputError(f"{source} is a click log; names of columns are for ratings")
    clicks, runs = ClickSource(source), Path("runs")
    if not clicks.is_prepared:
        try:
            check_writable(runs / "prepared")
        except InputError as error:
            raise InputError(
                f"{source}: inspect prepares a log in the folder runs first, but {error}; run it where you may write, "
                "or inspect what `coset prepare` made of the log"
            ) from None
    return clicks.load(runs, progress)


def inspect_clicks(data: ClickData, embedding_dim: int) -> Json:
    """Cardinalities, popularity and the bytes of full tables of prepared clicks, as plain JSON values.

    As `inspect` says of ratings; bytes are with the state of coset's own optimizers, and what popularity says is left
    out (null) of features whose frequencies are not known.
    """
    features = []
    for of in data.features:
        said = popularity(of.frequencies) if of.frequencies is not None and of.frequencies.any() else dict(_UNKNOWN)
        components = Full().components(Table(of.name, of.num_embeddings, embedding_dim))
        table = ledger.inference_bytes(components)
        state = {f"table_and_{name}": table + ledger.table_optimizer_bytes(components, name)
                 for name in _TABLE_OPTIMIZERS}  # fmt: skip
        features.append({
            "name": of.name, "num_embeddings": of.num_embeddings, "multi_hot": of.multi_hot, **said,
            "bytes": {"table": table, **state},
        })  # fmt: skip
    return {
        "dataset": data.name,
        "synthetic": data.synthetic,
        "noise_floor": data.facts.get("best_log_loss"),
        "rows": sum(data.parts.values()),
        "parts": dict(data.parts),
        "numeric": list(data.numeric),
        "embedding_dim": embedding_dim,
        "features": features,
        "bytes": together(features, _TABLE_OPTIMIZERS),
    }
