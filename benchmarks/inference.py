"""Lookups for inference: 26 tables of 10^6 rows in an `EmbeddingBagCollection` in `eval()`, which no optimizer owns.

A step is what a server does for a batch: from a mapping of ids, or of ids and offsets, to one vector a bag of every
feature. coset's tables are float32, and packed into 8 and 4 bits a number with a step for each column. `torch` is 26
calls of `nn.functional.embedding_bag`, of `torch.ops.quantized.embedding_bag_byte_rowwise_offsets`, and of the same of
4 bits; `FBGEMM` is its table-batched module for inference, with rows of float32, 8 and 4 bits. Each of coset's tables
is held against the peers of as many bits. Every step takes the next of some batches drawn beforehand; skewed ids follow
Zipf's law with exponent 1. A row has the bytes of both sides' tables.

The next rows look up compressed tables, of float32 and of 4 bits, and hold the kernels against plain torch, which is
what a model of these tables takes without them. The last rows look up uniform ids in one table of 10^7 rows of 64, and
hold coset's 4 bits against its own float32.

    $ python benchmarks/inference.py --quick
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any

import numpy as np

from measuring import (
    LAWS,
    Row,
    arguments,
    available_bytes,
    draw_ids,
    host,
    in_turns,
    report,
    row,
    say,
    use_threads,
)

BITS = (32, 8, 4)
NAMES = {32: "float32", 8: "int8", 4: "int4"}
METHODS = ["QR", "low rank", "mixed"]
FEW = 10_000
"""Rows of a table that differ."""
SPREAD = 0.05
"""Deviation of the numbers of tables."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Batch:
    """Ids of all features, as each of the contestants takes them."""

    named: dict[str, Any]
    by_feature: list[tuple[Any, Any]]
    joined: tuple[Any, Any]


@dataclass(frozen=True)
class Contestant:
    """Tables, their bytes, and what looks a batch up in them."""

    bits: int
    bytes: int
    look_up: Callable[[Batch], object]


def main() -> None:
    """Measure the chosen cases and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller tables, fewer steps")
    parser.add_argument("--dims", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batches", type=int, nargs="+", default=[2048])
    parser.add_argument("--bags", type=int, nargs="+", default=[1, 20], help="ids in a bag; 1 is one-hot")
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=["skewed"])
    parser.add_argument("--tables", type=int, default=None)
    parser.add_argument("--rows", type=int, default=None, help="of each table")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=METHODS, help="compressed tables to look up")
    parser.add_argument("--large", type=int, default=None, help="rows of the one large table; 0 leaves it out")
    parser.add_argument("--rotation", type=int, default=8, help="batches drawn beforehand")
    options = parser.parse_args()
    quick = options.quick
    use_threads(options.threads)
    tables, n = options.tables or (4 if quick else 26), options.rows or (100_000 if quick else 1_000_000)
    rounds = 5 if quick else 30
    rows: list[Row] = []
    for dim in options.dims:
        contestants = build(tables, n, dim)
        for count, length, law in product(options.batches, options.bags, options.laws):
            times = measured(contestants, [n] * tables, count, length, law, options.rotation, rounds)
            case = f"{tables} tables of {n:,}, d={dim}, batch={count}, {kind(length)}, {law}"
            rows += against_peers(case, contestants, times)
            say("done:", case)
        del contestants
    for method in options.methods:
        rows += compressed(method, tables, n, options, rounds)
    most = (1_000_000 if quick else 10_000_000) if options.large is None else options.large
    rows += large(most, options, rounds) if most else []
    report("inference", host(options.threads, "coset", "torch", "numba", "fbgemm-gpu-cpu"), rows, options.json)


def kind(length: int) -> str:
    """What bags of so many ids are called."""
    return "one-hot" if length == 1 else f"bags of {length}"


def measured(
    contestants: dict[str, Contestant], sizes: list[int], count: int, length: int, law: str, rotation: int, rounds: int
) -> dict[str, float]:
    """Milliseconds of a step of each."""
    import torch

    draw = np.random.default_rng(0)
    batches = [draw_batch(sizes, count, length, law, draw) for _ in range(rotation)]

    def stepping(contestant: Contestant) -> Step:
        turn = cycle(batches)
        return lambda: contestant.look_up(next(turn))

    steps = {name: stepping(contestant) for name, contestant in contestants.items()}
    with torch.inference_mode():
        return in_turns(steps, rounds=rounds, warm_up=rotation, turn=4, limit=6.0)


def against_peers(case: str, contestants: dict[str, Contestant], times: dict[str, float]) -> list[Row]:
    """Each of coset's tables against every peer of as many bits, and the narrow ones against coset's own floats."""
    rows = []
    for bits in BITS:
        own = contestants[f"coset {NAMES[bits]}"]
        for name, peer in contestants.items():
            is_own = name.startswith("coset")
            if (peer.bits == bits and not is_own) or (is_own and peer.bits == 32 and bits < 32):
                found = row(f"{NAMES[bits]}, {case}", name, times[f"coset {NAMES[bits]}"], times[name])
                rows.append(found | {"coset_bytes": own.bytes, "peer_bytes": peer.bytes})
    return rows


def compressed(method: str, tables: int, n: int, options: Any, rounds: int) -> list[Row]:
    """Tables of a compressing method, d = 16: kernels against plain torch."""
    rows = []
    for bits in (32, 4):
        found = dict(by_kernels_and_torch(method, tables, n, 16, bits))
        for count, length, law in product(options.batches, options.bags, options.laws):
            times = measured(found, [n] * tables, count, length, law, min(4, options.rotation), min(rounds, 10))
            case = f"{method}, {NAMES[bits]}, {tables} tables of {n:,}, d=16, batch={count}, {kind(length)}, {law}"
            own, torch_alone = found.values()
            found_row = row(case, "torch alone", *(times[name] for name in found))
            rows.append(found_row | {"coset_bytes": own.bytes, "peer_bytes": torch_alone.bytes})
            say("done:", case)
    return rows


def by_kernels_and_torch(method: str, tables: int, n: int, dim: int, bits: int) -> Iterable[tuple[str, Contestant]]:
    """One collection of compressed tables in `eval()`, as it is looked up by kernels and by torch."""
    import coset
    from coset.engine.reading import by_torch_alone
    from coset.storage import Packed
    from coset.storage.forms import pack_

    storage = coset.Dense() if bits == 32 else Packed(bits)
    block = n // 1000, n // 20, n - n // 1000 - n // 20
    chosen: coset.Method = {
        "QR": coset.QuotientRemainder(num_buckets=n // 4, storage=storage),
        "low rank": coset.LowRank(rank=dim // 4, storage=storage),
        "mixed": coset.MixedDimension(block, (dim, dim // 2, dim // 4), storage=storage),
    }[method]
    bags = coset.EmbeddingBagCollection([(coset.Table(str(at), n, dim), chosen) for at in range(tables)], mode="sum")
    pack_(bags).eval()
    size = sum(array.nbytes for array in bags.state_dict().values())

    def plainly(batch: Batch) -> object:
        with by_torch_alone():
            return bags(batch.named)

    yield "coset", Contestant(bits, size, lambda batch: bags(batch.named))
    yield "torch alone", Contestant(bits, size, plainly)


def large(n: int, options: Any, rounds: int) -> list[Row]:
    """One large table, whose rows are in no cache."""
    if available_bytes() < n * 64 * 6:
        say(f"a table of {n:,} rows is left out: there is no memory for it")
        return []
    contestants = dict(own(1, n, 64, (32, 4)))
    rows = []
    for count, length in product(options.batches, options.bags):
        times = measured(contestants, [n], count, length, "uniform", options.rotation, rounds)
        case = f"int4, 1 table of {n:,}, d=64, batch={count}, {kind(length)}, uniform"
        found = row(case, "coset float32", times["coset int4"], times["coset float32"])
        bytes_of = {name: contestant.bytes for name, contestant in contestants.items()}
        rows.append(found | {"coset_bytes": bytes_of["coset int4"], "peer_bytes": bytes_of["coset float32"]})
    return rows


def draw_batch(sizes: list[int], count: int, length: int, law: str, draw: np.random.Generator) -> Batch:
    """A batch of `count` bags of `length` ids for each table; one-hot ids go to coset without offsets."""
    import torch

    ids = [torch.from_numpy(draw_ids(law, n, count * length, draw)) for n in sizes]
    offsets = torch.arange(count) * length
    named = {str(place): each if length == 1 else (each, offsets) for place, each in enumerate(ids)}
    joined = torch.cat(ids).int(), (torch.arange(count * len(sizes) + 1) * length).int()
    return Batch(named, [(each, offsets) for each in ids], joined)


def build(tables: int, n: int, dim: int) -> dict[str, Contestant]:
    """All contestants, by name."""
    return dict(own(tables, n, dim, BITS)) | dict(by_torch(tables, n, dim)) | dict(by_fbgemm(tables, n, dim))


def values(n: int, dim: int) -> Any:
    """The numbers of a table: a few thousand rows, again and again."""
    import torch

    few = torch.randn(min(n, FEW), dim, generator=torch.Generator().manual_seed(0)) * SPREAD
    return few.repeat(-(-n // len(few)), 1)[:n]


def own(tables: int, n: int, dim: int, choices: Iterable[int]) -> Iterable[tuple[str, Contestant]]:
    """coset's collections, in `eval()`."""
    import torch

    import coset
    from coset.storage import Packed
    from coset.storage.forms import pack_
    from coset.storage.pages import in_large_pages

    few = min(n, FEW)
    given = values(few, dim)
    for bits in choices:
        storage = coset.Dense() if bits == 32 else Packed(bits)
        # A few rows again and again: to round them all takes many times the memory of the tables.
        first = coset.EmbeddingBagCollection([(coset.Table("0", few, dim), coset.Full(storage=storage))], mode="sum")
        with torch.no_grad():
            first.tables["0"].get_submodule("rows").write_(given)
        state = pack_(first).tables["0"].rows.state_dict()
        described = [(coset.Table(str(place), n, dim), coset.Full(storage=storage)) for place in range(tables)]
        bags = pack_(coset.EmbeddingBagCollection(described, mode="sum", device="meta"))
        size = 0
        for place in range(tables):
            rows = bags.tables[str(place)].rows
            for name, array in state.items():
                many = array.shape[0] if name == "scales" else array.shape[0] // few * n
                kept = in_large_pages(array.new_empty(many, *array.shape[1:]))
                for start in range(0, many, array.shape[0]):
                    part = kept[start : start + array.shape[0]]
                    part.copy_(array[: len(part)])
                setattr(rows, name, torch.nn.Parameter(kept) if bits == 32 else kept)
                size += kept.nbytes
        bags.eval()
        yield f"coset {NAMES[bits]}", Contestant(bits, size, lambda batch, bags=bags: bags(batch.named))


def by_torch(tables: int, n: int, dim: int) -> Iterable[tuple[str, Contestant]]:
    """torch's own operators, a call for each table."""
    import torch
    import torch.nn.functional as F

    quantized, given = torch.ops.quantized, values(n, dim)

    def plain(weight: Any, ids: Any, offsets: Any) -> Any:
        return F.embedding_bag(ids, weight, offsets, mode="sum")

    for bits, one, function in (
        (32, given, plain),
        (8, quantized.embedding_bag_byte_prepack(given), quantized.embedding_bag_byte_rowwise_offsets),
        (4, quantized.embedding_bag_4bit_prepack(given), quantized.embedding_bag_4bit_rowwise_offsets),
    ):
        weights = [one.clone() for _ in range(tables)]

        def look_up(batch: Batch, weights: list[Any] = weights, function: Any = function) -> object:
            return [function(weight, *bag) for weight, bag in zip(weights, batch.by_feature, strict=True)]

        yield f"torch {NAMES[bits]}", Contestant(bits, sum(weight.nbytes for weight in weights), look_up)


def by_fbgemm(tables: int, n: int, dim: int) -> Iterable[tuple[str, Contestant]]:
    """FBGEMM's module for inference, all tables in one call; none where it is not installed."""
    try:
        import fbgemm_gpu  # noqa: F401 - registers the operators
        from fbgemm_gpu.split_embedding_configs import SparseType
        from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
        from fbgemm_gpu.split_table_batched_embeddings_ops_inference import IntNBitTableBatchedEmbeddingBagsCodegen
    except (ImportError, OSError, AttributeError) as error:  # the binary fits one version of torch, one system
        say(f"FBGEMM is left out: {type(error).__name__}: {error}")
        return
    for bits, precision in ((32, SparseType.FP32), (8, SparseType.INT8), (4, SparseType.INT4)):
        module = IntNBitTableBatchedEmbeddingBagsCodegen(
            [("", n, dim, precision, EmbeddingLocation.HOST) for _ in range(tables)],
            pooling_mode=PoolingMode.SUM,
            output_dtype=SparseType.FP32,
            device="cpu",
        )
        module.fill_random_weights()
        size = sum(part.nbytes for pair in module.split_embedding_weights() for part in pair if part is not None)

        def look_up(batch: Batch, module: Any = module) -> object:
            return module(*batch.joined)

        yield f"FBGEMM {NAMES[bits]}", Contestant(bits, size, look_up)


if __name__ == "__main__":
    main()
