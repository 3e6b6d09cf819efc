"""The embedding step of a click model: 26 tables of Criteo's cardinalities, capped at 200,000 ids, trained by Adagrad.

A step is everything that a user writes: lookup, backward with a gradient given from above, the optimizer's step and
`zero_grad`. coset's tables, full and quotient-remainder at 4 collisions (mult), are trained by row-wise Adagrad;
`torch sparse` is 26 × `nn.EmbeddingBag(sparse=True)` with `torch.optim.Adagrad`, handed a gradient for each table, so
that nothing is joined; `FBGEMM` is its table-batched module on CPU with exact row-wise Adagrad in float32. Both peers'
tables are full. Every step takes the next of 16 batches drawn beforehand; skewed ids follow Zipf's law with exponent 1.

`copy` moves the bytes that a step of a full table must move: 3 for each element of a row that is looked up (read, read
again and written by the update) and 3 for each element of a bag (output written, its gradient read, and handed to the
update), so 6 · B · 26 · d · 4 bytes for bags of one id, reads and writes together. It walks through buffers of 4 times
the last cache, and is the faster of torch's copy on all threads and memcpy on one. Its ratio is the share of copy
bandwidth that coset reaches.

    $ python benchmarks/embedding_step.py --quick
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

import numpy as np

from measuring import LAWS, Row, arguments, draw_ids, host, in_turns, l3_bytes, report, row, say, use_threads

CARDINALITIES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306,
    10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
RATE = 0.01
COLLISIONS = 4
OPTIMIZER = "row-wise Adagrad"

Step = Callable[[], object]


@dataclass(frozen=True)
class Batch:
    """Ids of all features, as each of the contestants takes them."""

    by_feature: list[tuple[Any, Any]]
    named: dict[str, Any]
    joined: tuple[Any, Any]


def main() -> None:
    """Measure the chosen cases and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cases, fewer steps")
    parser.add_argument("--dims", type=int, nargs="+", default=None)
    parser.add_argument("--batches", type=int, nargs="+", default=None)
    parser.add_argument("--bags", type=int, nargs="+", default=None, help="ids in a bag; 1 is one-hot")
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=None)
    parser.add_argument("--methods", nargs="+", choices=["full", "qr"], default=["full", "qr"])
    parser.add_argument("--rotation", type=int, default=16, help="batches drawn beforehand")
    parser.add_argument("--cap", type=int, default=200_000, help="most ids in a table")
    options = parser.parse_args()
    quick = options.quick
    dims = options.dims or ([16] if quick else [16, 64])
    batches = options.batches or ([2048] if quick else [128, 2048, 8192])
    bags = options.bags or ([1] if quick else [1, 10])
    laws = options.laws or (["skewed"] if quick else list(LAWS))
    use_threads(options.threads)
    sizes = [min(n, options.cap) for n in CARDINALITIES]
    rows: list[Row] = []
    for dim in dims:
        contestants = build(sizes, dim, options.methods)
        for count, length, law in product(batches, bags, laws):
            draw = np.random.default_rng(0)
            drawn = [draw_batch(sizes, count, length, law, draw) for _ in range(options.rotation)]
            steps = {name: make(drawn, count) for name, make in contestants.items()}
            steps |= copies((3 * length + 3) * count * len(sizes) * dim * 4)
            times = in_turns(steps, rounds=20 if quick else 60, warm_up=options.rotation, turn=8, limit=2.0)
            case = f"d={dim}, batch={count}, {'one-hot' if length == 1 else f'bags of {length}'}, {OPTIMIZER}, {law}"
            rows += compared(case, times, options.methods)
            say("done:", case)
    report("embedding_step", host(options.threads, "coset", "torch", "numba", "fbgemm-gpu-cpu"), rows, options.json)


def compared(case: str, times: dict[str, float], methods: list[str]) -> list[Row]:
    """The rows of one case: each method against each peer, and QR against full."""
    copy = min(times.pop(name) for name in list(times) if name.startswith("copy"))
    peers = {name: taken for name, taken in times.items() if name not in methods} | {"copy": copy}
    names = {"full": "full", "qr": f"QR at {COLLISIONS} collisions"}
    rows = [
        row(f"{names[method]}, {case}", peer, times[method], taken)
        for method in methods
        for peer, taken in peers.items()
    ]
    if "full" in times and "qr" in times:
        rows.append(row(f"{names['qr']}, {case}", "coset full", times["qr"], times["full"]))
    return rows


def draw_batch(sizes: list[int], count: int, length: int, law: str, draw: np.random.Generator) -> Batch:
    """A batch of `count` bags of `length` ids for each table; one-hot ids go to coset without offsets."""
    import torch

    ids = [torch.from_numpy(draw_ids(law, n, count * length, draw)) for n in sizes]
    offsets = torch.arange(count) * length
    joined = torch.cat(ids), torch.arange(count * len(sizes) + 1) * length
    # As FBGEMM takes all features in one tensor, so does coset, where they have one id each.
    named = torch.stack(ids) if length == 1 else {str(place): (each, offsets) for place, each in enumerate(ids)}
    return Batch([(each, offsets) for each in ids], named, joined)


def build(sizes: list[int], dim: int, methods: list[str]) -> dict[str, Callable[[list[Batch], int], Step]]:
    """By name, what makes a step out of the batches and their size; the tables are kept from case to case."""
    found = {method: coset_tables(sizes, dim, method) for method in methods}
    found["torch sparse"] = torch_sparse(sizes, dim)
    try:
        found["FBGEMM"] = fbgemm(sizes, dim)
    except (ImportError, OSError, AttributeError) as error:  # the binary fits one version of torch, one system
        say(f"FBGEMM is left out: {type(error).__name__}: {error}")
    return found


def coset_tables(sizes: list[int], dim: int, method: str) -> Callable[[list[Batch], int], Step]:
    """coset's collection with its own optimizer."""
    import coset
    from coset import optimizers

    def stored(n: int) -> Any:
        return "full" if method == "full" else coset.QuotientRemainder(-(-n // COLLISIONS), "mult")

    tables = [(coset.Table(str(place), n, dim), stored(n)) for place, n in enumerate(sizes)]
    bags = coset.EmbeddingBagCollection(tables, mode="sum")
    optimizer = optimizers.RowWiseAdagrad(bags, lr=RATE)

    def make(batches: list[Batch], count: int) -> Step:
        turn, gradient = cycle(batches), upstream(count, dim * len(sizes))

        def step() -> None:
            bags.concatenated(next(turn).named).backward(gradient)
            optimizer.step()
            optimizer.zero_grad()

        return step

    return make


def torch_sparse(sizes: list[int], dim: int) -> Callable[[list[Batch], int], Step]:
    """torch's own modules, which have gradients of the rows that were read."""
    import torch

    modules = [torch.nn.EmbeddingBag(n, dim, mode="sum", sparse=True) for n in sizes]
    optimizer = torch.optim.Adagrad([module.weight for module in modules], lr=RATE)

    def make(batches: list[Batch], count: int) -> Step:
        turn = cycle(batches)
        gradients = [part.contiguous() for part in upstream(count, dim * len(sizes)).split(dim, 1)]

        def step() -> None:
            pairs = zip(modules, next(turn).by_feature, strict=True)
            torch.autograd.backward([module(ids, offsets) for module, (ids, offsets) in pairs], gradients)
            optimizer.step()
            optimizer.zero_grad()

        return step

    return make


def fbgemm(sizes: list[int], dim: int) -> Callable[[list[Batch], int], Step]:
    """FBGEMM's table-batched embedding, whose backward pass updates the rows."""
    import fbgemm_gpu  # noqa: F401 - registers the operators
    from fbgemm_gpu.split_embedding_configs import EmbOptimType, SparseType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    tables = SplitTableBatchedEmbeddingBagsCodegen(
        [(n, dim, EmbeddingLocation.HOST, ComputeDevice.CPU) for n in sizes],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        weights_precision=SparseType.FP32,
        output_dtype=SparseType.FP32,
        pooling_mode=PoolingMode.SUM,
        learning_rate=RATE,
        eps=1e-10,
    )
    tables.init_embedding_weights_uniform(-0.05, 0.05)

    def make(batches: list[Batch], count: int) -> Step:
        turn, gradient = cycle(batches), upstream(count, dim * len(sizes))

        def step() -> None:
            tables(*next(turn).joined).backward(gradient)

        return step

    return make


def upstream(count: int, width: int) -> Any:
    """The gradient that comes from above."""
    import torch

    return torch.randn(count, width, generator=torch.Generator().manual_seed(0)) * 1e-3


def copies(moved: int) -> dict[str, Step]:
    """Two ways to copy, which read and write `moved` bytes together, the next stretch of cold buffers every time."""
    import torch

    elements = moved // 8
    whole = torch.zeros(max(l3_bytes(), elements))  # 4 bytes each, so 4 times the cache at least
    target = torch.ones_like(whole)

    def stretches() -> Iterator[slice]:
        starts = range(0, len(whole) - elements + 1, elements)
        return cycle([slice(start, start + elements) for start in starts])

    first, second = stretches(), stretches()

    def by_torch() -> None:
        part = next(first)
        target[part].copy_(whole[part])

    def by_memcpy() -> None:
        part = next(second)
        np.copyto(target.numpy()[part], whole.numpy()[part])

    return {"copy by torch": by_torch, "copy by memcpy": by_memcpy}


if __name__ == "__main__":
    main()
