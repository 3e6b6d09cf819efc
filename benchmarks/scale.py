"""Step time and memory of one table of 10^5 to 10^8 ids: the cost of a step must follow the batch, not the table.

One feature, one id each, batches of 2,048, 16 elements, row-wise Adagrad: lookup, backward with a gradient given from
above, the optimizer's step and `zero_grad`. Hashing and quotient-remainder (mult) are sized for 4 collisions. Skewed
ids follow Zipf's law with exponent 1. Every size is in a process of its own, which keeps the table and takes turns with
the others. The peer is the table of 10^6 ids, so the ratio says how near a step comes to that one, and for hashing and
quotient-remainder also the full table of the same size. `resident_mb` is all that the process has in memory after its
steps, `table_mb` the part that came with table and steps. Sizes that the memory does not suffice for are left out, with
a word about it.

    $ python benchmarks/scale.py --max-ids 1000000
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from itertools import cycle
from typing import Any

import numpy as np

from measuring import (
    LAWS,
    Row,
    arguments,
    ask,
    available_bytes,
    child,
    draw_ids,
    host,
    report,
    resident_bytes,
    row,
    say,
    use_threads,
)  # fmt: skip

SIZES = (10**5, 10**6, 10**7, 10**8)
REFERENCE = 10**6
METHODS = {"full": "full", "hashing": "hashing at 4 collisions", "qr": "QR at 4 collisions"}
DIM = 16
BATCH = 2048
COLLISIONS = 4
ROTATION = 64
"""Batches drawn beforehand."""
WARM_UP, TURN = 64, 64
"""Steps before the clock counts, and steps in a turn."""


def main() -> None:
    """Measure every size of every method and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--max-ids", type=int, default=max(SIZES), help="no larger tables, save that of 10^6 ids")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--laws", nargs="+", choices=LAWS, default=list(LAWS))
    parser.add_argument("--rounds", type=int, default=12, help="turns of each size")
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "IDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    use_threads(options.threads)
    if options.child:
        serve(options.child[0], int(options.child[1]), options.threads)
        return
    found: dict[tuple[str, int, str], dict[str, float]] = {}
    for method in options.methods:
        found |= measure(method, [n for n in SIZES if n <= max(REFERENCE, options.max_ids)], options)
    report("scale", host(options.threads, "coset", "torch", "numba"), compared(found), options.json)


def measure(method: str, sizes: list[int], options: Any) -> dict[tuple[str, int, str], dict[str, float]]:
    """Median milliseconds and megabytes by method, size and law; the sizes of a method take turns."""
    found: dict[tuple[str, int, str], dict[str, float]] = {}
    with ExitStack() as stack:
        children: dict[int, Any] = {}
        for n in sizes:
            if needed(method, n) > available_bytes():
                say(f"{METHODS[method]}, {n:,} ids: left out, {needed(method, n) >> 20:,} MiB are not free")
                continue
            words = [sys.executable, __file__, "--child", method, str(n), "--threads", str(options.threads)]
            children[n] = stack.enter_context(child(words))
            ask(children[n], "ready")  # one after the other, so that what is free is known for the next
        for law in options.laws:
            times: dict[int, list[float]] = {n: [] for n in children}
            for _ in range(options.rounds):
                for n, process in children.items():
                    times[n] += ask(process, law)["ms"]
            for n, process in children.items():
                found[method, n, law] = {"ms": float(np.median(times[n])), **ask(process, "memory")}
            say("done:", METHODS[method], law)
    return found


def needed(method: str, num_embeddings: int) -> int:
    """Bytes that a table is expected to take, with one number of optimizer state and one of scratch for each row."""
    rows = num_embeddings if method == "full" else num_embeddings // COLLISIONS
    return rows * 4 * (DIM + 2) + (1 << 29)


def compared(found: dict[tuple[str, int, str], dict[str, float]]) -> list[Row]:
    """Every size against 10^6 ids of the same method, and every method against the full table of the same size."""
    rows = []
    for (method, n, law), mine in found.items():
        case = f"{METHODS[method]}, {n:.0e} ids, d={DIM}, batch={BATCH}, one-hot, row-wise Adagrad, {law}"
        memory = {name: mine[name] for name in ("resident_mb", "table_mb")}
        peers = {f"coset, {REFERENCE:.0e} ids": (method, REFERENCE, law)}
        if method != "full":
            peers["coset full"] = ("full", n, law)
        for peer, key in peers.items():
            if key in found:
                rows.append(row(case, peer, mine["ms"], found[key]["ms"], **memory))
    return rows


def serve(method: str, num_embeddings: int, threads: int) -> None:
    """A child: build the table, then answer each line until there are no more."""
    import torch

    import coset
    from coset import optimizers

    torch.set_num_threads(threads)
    before = resident_bytes()
    buckets = -(-num_embeddings // COLLISIONS)
    how = {"full": "full", "hashing": coset.Hashing(buckets), "qr": coset.QuotientRemainder(buckets, "mult")}[method]
    bags = coset.EmbeddingBagCollection([(coset.Table("ids", num_embeddings, DIM), how)], mode="sum")
    optimizer = optimizers.RowWiseAdagrad(bags, lr=0.01)
    gradient = torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(0)) * 1e-3
    draw = np.random.default_rng(0)
    batches = {
        law: cycle([torch.from_numpy(draw_ids(law, num_embeddings, BATCH, draw)) for _ in range(ROTATION)])
        for law in LAWS
    }

    def step(law: str) -> float:
        begin = time.perf_counter()
        bags.concatenated({"ids": next(batches[law])}).backward(gradient)
        optimizer.step()
        optimizer.zero_grad()
        return 1000 * (time.perf_counter() - begin)

    warm: set[str] = set()
    for line in sys.stdin:
        word, answer = line.strip(), {}
        if word in LAWS:
            for _ in range(0 if word in warm else WARM_UP):
                step(word)
            warm.add(word)
            answer = {"ms": [step(word) for _ in range(TURN)]}
        elif word == "memory":
            now = resident_bytes()
            answer = {"resident_mb": round(now / 1e6, 1), "table_mb": round((now - before) / 1e6, 1)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
