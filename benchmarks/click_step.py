"""A training step of DLRM and DCN, as published for Criteo: 13 numeric columns, 26 tables of its cardinalities,
capped at 200,000 ids, d = 16; DLRM with layers 512-256-64 below and 512-256 above, DCN with 6 cross layers (vectors, as
in its first paper) beside layers 512-256-64.

A step is everything that a user writes: forward, log-loss, backward, the steps of both optimizers and `zero_grad`.
coset's tables, full and quotient-remainder at 4 collisions (mult), are trained by row-wise Adagrad, and all layers,
coset's and the peers', by `torch.optim.Adagrad(fused=True)`.

`constant vectors` is the same model, its looked-up vectors replaced by a constant tensor that requires grad: the layers
and interactions alone, which no tables can be faster than. coset's step is to take at most 1.15 times as long, so a
ratio of 0.87 at least; `percent of constant` is its time in those of the peer. `torch sparse` is the same model on
26 × `nn.EmbeddingBag(sparse=True)`, trained by `torch.optim.Adagrad`. Every step takes the next of 16 batches drawn
beforehand; skewed ids follow Zipf's law with exponent 1.

    $ python benchmarks/click_step.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

import numpy as np

from embedding_step import CARDINALITIES, COLLISIONS, RATE
from measuring import LAWS, Row, arguments, draw_ids, host, in_turns, report, row, say, use_threads

NUMERIC = 13
MODELS = {"dlrm": "DLRM", "dcn": "DCN"}
METHODS = {"full": "full", "qr": f"QR at {COLLISIONS} collisions"}
CONSTANT, SPARSE = "constant vectors", "torch sparse"

Step = Callable[[], object]


@dataclass(frozen=True)
class Batch:
    """Numeric columns, ids of all features as a matrix, labels."""

    numeric: Any
    ids: Any
    labels: Any


def main() -> None:
    """Measure the chosen cases and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="one law, fewer steps")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--dims", type=int, nargs="+", default=[16])
    parser.add_argument("--batches", type=int, nargs="+", default=[2048])
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=None)
    parser.add_argument("--rotation", type=int, default=16, help="batches drawn beforehand")
    parser.add_argument("--cap", type=int, default=200_000, help="most ids in a table")
    options = parser.parse_args()
    use_threads(options.threads)
    laws = options.laws or (["skewed"] if options.quick else list(LAWS))
    sizes = [min(n, options.cap) for n in CARDINALITIES]
    rows: list[Row] = []
    for name, dim in product(options.models, options.dims):
        models = build(name, sizes, dim, options.methods)
        for count, law in product(options.batches, laws):
            draw = np.random.default_rng(0)
            drawn = [draw_batch(sizes, count, law, draw) for _ in range(options.rotation)]
            steps = {peer: make(drawn) for peer, make in models.items()}
            rounds, limit = (8, 4.0) if options.quick else (40, 20.0)
            times = in_turns(steps, rounds=rounds, warm_up=options.rotation, turn=4, limit=limit)
            rows += compared(f"d={dim}, batch={count}, {law}", MODELS[name], times, options.methods)
            say("done:", MODELS[name], dim, count, law)
    report("click_step", host(options.threads, "coset", "torch", "numba"), rows, options.json)


def compared(case: str, model: str, times: dict[str, float], methods: list[str]) -> list[Row]:
    """The rows of one case: each method against each peer."""
    rows = []
    for method in methods:
        share = 100 * times[method] / times[CONSTANT]
        for peer, more in ((CONSTANT, {"percent_of_constant": round(share, 1)}), (SPARSE, {})):
            rows.append(row(f"{model}, {METHODS[method]}, {case}", peer, times[method], times[peer], **more))
    return rows


def draw_batch(sizes: list[int], count: int, law: str, draw: np.random.Generator) -> Batch:
    """A batch of `count` rows; a quarter are clicks, as in Criteo's data."""
    import torch

    ids = torch.from_numpy(np.stack([draw_ids(law, n, count, draw) for n in sizes]))
    numeric = torch.from_numpy(draw.standard_normal((count, NUMERIC), np.float32))
    return Batch(numeric, ids, torch.from_numpy((draw.random(count) < 0.25).astype(np.float32)))


def build(name: str, sizes: list[int], dim: int, methods: list[str]) -> dict[str, Callable[[list[Batch]], Step]]:
    """By name, what makes a step out of the batches; a model is kept from case to case."""
    return {how: trained(name, sizes, dim, how) for how in (CONSTANT, *methods, SPARSE)}


def trained(name: str, sizes: list[int], dim: int, how: str) -> Callable[[list[Batch]], Step]:
    """The model of that name on tables of one kind, with its optimizers."""
    import torch

    from coset.models.clicks import build, make_settings
    from coset.optimizers import RowWiseAdagrad

    torch.manual_seed(0)
    settings = make_settings(name, {"embedding_dim": dim})
    optimizers: list[Any] = []
    if how == CONSTANT:
        tables: Any = constant(len(sizes), dim)
    elif how == SPARSE:
        tables = sparse(sizes, dim)
        optimizers.append(torch.optim.Adagrad(tables.parameters(), lr=RATE))
    else:
        tables = collection(sizes, settings, how)
        optimizers.append(RowWiseAdagrad(tables, lr=RATE))
    model = build(name, tables, NUMERIC, settings)
    layers = [p for key, p in model.named_parameters() if not key.startswith("tables.")]
    optimizers.append(torch.optim.Adagrad(layers, lr=RATE, fused=True))
    log_loss = torch.nn.functional.binary_cross_entropy_with_logits

    def make(batches: list[Batch]) -> Step:
        turn = cycle(batches)

        def step() -> None:
            batch = next(turn)
            log_loss(model(batch.numeric, batch.ids), batch.labels).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            if how == CONSTANT:
                tables.vectors.grad = None

        return step

    return make


def collection(sizes: list[int], settings: Any, method: str) -> Any:
    """coset's tables."""
    import coset

    def stored(n: int) -> Any:
        return "full" if method == "full" else coset.QuotientRemainder(-(-n // COLLISIONS), "mult")

    return coset.EmbeddingBagCollection([(settings.table(f"C{at}", n), stored(n)) for at, n in enumerate(sizes)])


def constant(features: int, dim: int) -> Any:
    """In place of tables: the same vectors whatever the ids."""
    import torch

    class Constant(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = {f"C{at}": f"C{at}" for at in range(features)}
            self.output_dims = dict.fromkeys(self.features, dim)
            self.vectors = torch.nn.Parameter(torch.empty(0))

        def concatenated(self, ids: Any) -> Any:
            if len(self.vectors) != ids.shape[1]:
                self.vectors = torch.nn.Parameter(0.05 * torch.randn(ids.shape[1], features * dim))
            return self.vectors

    return Constant()


def sparse(sizes: list[int], dim: int) -> Any:
    """torch's own tables, which have gradients of the rows that were read, drawn as coset's are."""
    import torch

    class Sparse(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = {f"C{at}": f"C{at}" for at in range(len(sizes))}
            self.output_dims = dict.fromkeys(self.features, dim)
            self.bags = torch.nn.ModuleList(torch.nn.EmbeddingBag(n, dim, mode="sum", sparse=True) for n in sizes)
            for n, bag in zip(sizes, self.bags, strict=True):
                torch.nn.init.normal_(bag.weight, std=(3 * n) ** -0.5)

        def concatenated(self, ids: Any) -> Any:
            offsets = torch.arange(ids.shape[1])
            return torch.cat([bag(of, offsets) for bag, of in zip(self.bags, ids, strict=True)], 1)

    return Sparse()


if __name__ == "__main__":
    main()
