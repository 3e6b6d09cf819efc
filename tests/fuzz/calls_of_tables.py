"""Calls of tables, optimizers, methods, plans and ledgers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from calls import Call, Calls, finite, is_bytes, is_vector
from judge import Fault
from pools import ARRAYS, COUNTS, DIM, IDS, NUMBERS, OBJECTS, WEIGHTS, WORDS, N
from torch import nn

import coset
from coset import methods, optimizers

CHOSEN: tuple[Any, ...] = (
    coset.Full(),
    coset.QuotientRemainder(4),
    coset.LowRank(2),
    "full",
    "x",
    {"method": "hashing"},
    None,
    3,
    coset.LowRank,
    {"method": "quotient_remainder", "num_buckets": 4},
    {"method": "low_rank", "rank": float("nan")},
    {"method": "hashing", "num_buckets": 2**63},
    {},
    [],
)
"""Methods, right and wrong."""


def calls() -> list[Call]:
    """All of them; what they are called on is made anew in each, as some change it."""
    table = coset.Table("user", N, DIM, frequencies=COUNTS)
    found = Calls()
    add, chosen = found.add, CHOSEN

    def embedding(method: Any, input: Any, **options: Any) -> Any:
        return coset.Embedding(N, DIM, method, **options)(input)

    def bag(method: Any, input: Any, offsets: Any, weights: Any, **options: Any) -> Any:
        return coset.EmbeddingBag(N, DIM, method, **options)(input, offsets, weights)

    def padded_bag(method: Any, input: Any, mode: Any, padding_idx: Any) -> Any:
        return coset.EmbeddingBag(N, DIM, method, mode=mode, padding_idx=padding_idx)(input)

    def sizes_of(num_embeddings: Any, embedding_dim: Any, std: Any, name: Any, dtype: Any) -> Any:
        made = coset.Table(name, num_embeddings, embedding_dim, std, dtype)
        return coset.QuotientRemainder(4).bytes(made)

    def table_of(frequencies: Any, attributes: Any, order: Any, method: Any) -> Any:
        made = coset.Table("user", N, DIM, frequencies=frequencies, attributes=attributes)
        return coset.Embedding.from_table(made, method, order=order)(torch.arange(N))

    def collection(user: Any, item: Any, tables: Any, features: Any, owned: bool) -> Any:
        made = coset.EmbeddingCollection(tables, features)
        if owned:
            optimizers.SGD(made, lr=0.1)
        return made({"user": user, "item": item})

    def bags(user: Any, item: Any, weights: Any, mode: Any, owned: bool) -> Any:
        made = coset.EmbeddingBagCollection(
            [(table, coset.QuotientRemainder(4)), (coset.Table("item", N, DIM), "full")], mode=mode
        )
        if owned:
            optimizers.SGD(made, lr=0.1)
        return made({"user": (user, item, weights), "item": user})

    def matrix(ids: Any, owned: bool) -> Any:
        made = coset.EmbeddingBagCollection(
            [(table, coset.QuotientRemainder(4)), (coset.Table("item", N, DIM), "full")]
        )
        if owned:
            optimizers.SGD(made, lr=0.1)
        return made(ids)

    def optimizer(kind: Any, lr: Any, options: dict[str, Any], **given: Any) -> Any:
        made = coset.EmbeddingCollection([(table, coset.QuotientRemainder(4))])
        owner = getattr(optimizers, kind)(made, lr, **given)
        made({"user": torch.tensor([1, 2, 2])})["user"].sum().backward()
        owner.step()
        return made({"user": torch.arange(N)})["user"].detach()

    def fit(method: Any, weight: Any, frequencies: Any) -> Any:
        made = coset.Embedding(N, DIM, method)
        error = made.fit_(weight, frequencies)
        if not np.isfinite(error):
            raise Fault(f"an error of {error}")
        return made.materialize()

    def materialize(method: Any, chunk: Any) -> Any:
        return coset.Embedding(N, DIM, method).materialize(chunk)

    def for_budget(method: Any, max_bytes: Any) -> Any:
        return methods.registered()[method].for_budget(table, max_bytes).bytes(table)

    def for_collisions(method: Any, collisions: Any) -> Any:
        return methods.registered()[method].for_collisions(table, collisions).bytes(table)

    def plan(tables: Any, budget: Any, **given: Any) -> Any:
        return coset.plan(tables, budget, **given).bytes

    def predict(tables: Any, **given: Any) -> Any:
        ledger = coset.predict(tables, **given)
        return ledger.parameters + ledger.optimizer + ledger.step

    def measure(model: Any, optimizer: Any) -> Any:
        return coset.measure(model, optimizer).parameters

    def compress(plan: Any, **given: Any) -> Any:
        model = nn.Sequential(nn.Embedding(N, DIM))
        coset.compress_(model, plan, **given)
        return model(torch.arange(N))

    ids = torch.tensor([0, 3, 3, N - 1])
    for how in (
        coset.Full(),
        coset.QuotientRemainder(4),
        coset.LowRank(2),
        coset.method({"method": "hashing", "num_buckets": 5}),
    ):
        add(
            embedding,
            {
                "method": chosen,
                "input": IDS,
                "padding_idx": NUMBERS,
                "std": NUMBERS,
                "max_norm": NUMBERS[:18] if how.row_per_id else NUMBERS,
            },
            is_vector,
            method=how,
            input=ids,
            padding_idx=None,
            std=0.05,
            max_norm=None,
        )
        add(
            bag,
            {"method": chosen, "input": IDS, "offsets": IDS, "weights": WEIGHTS, "mode": WORDS, "padding_idx": NUMBERS},
            finite,
            method=how,
            input=ids,
            offsets=torch.tensor([0, 2]),
            weights=None,
            mode="sum",
            padding_idx=None,
        )
        add(
            bag,
            {"input": IDS, "offsets": IDS, "weights": WEIGHTS},
            finite,
            method=how,
            input=ids,
            offsets=torch.tensor([0, 2]),
            weights=torch.ones(4),
            mode="sum",
        )
        add(
            fit,
            {
                "weight": (
                    *IDS,
                    *WEIGHTS,
                    *ARRAYS,
                    torch.full((N, DIM), np.nan),
                    torch.ones(DIM, N).t(),
                    torch.ones(N, DIM).half(),
                    torch.ones(N, DIM) + 0j,
                ),
                "frequencies": ARRAYS,
            },
            finite,
            method=how,
            weight=torch.randn(N, DIM),
            frequencies=None,
        )
    add(
        padded_bag,
        {"input": IDS, "mode": WORDS, "padding_idx": NUMBERS},
        finite,
        method=coset.QuotientRemainder(4),
        input=torch.tensor([[1, 2]]),
        mode="mean",
        padding_idx=1,
    )
    add(
        sizes_of,
        {"num_embeddings": NUMBERS, "embedding_dim": NUMBERS, "std": NUMBERS, "name": WORDS, "dtype": OBJECTS},
        is_bytes,
        num_embeddings=N,
        embedding_dim=DIM,
        std=0.05,
        name="user",
        dtype=torch.float32,
    )
    add(
        table_of,
        {
            "frequencies": ARRAYS,
            "attributes": tuple({"age": of} for of in ARRAYS) + OBJECTS,
            "order": ARRAYS,
            "method": chosen,
        },
        finite,
        frequencies=None,
        attributes=None,
        order=None,
        method=coset.QuotientRemainder(4),
    )
    both = [(table, coset.QuotientRemainder(4)), (coset.Table("item", N, DIM), "full")]
    for owned in (False, True):
        add(
            collection,
            {
                "user": IDS,
                "item": IDS,
                "tables": (*OBJECTS, [], both * 2, both[:1], [(table, None)]),
                "features": (*OBJECTS, {"user": "user", "item": "user"}, {"user": 3}),
            },
            finite,
            user=ids,
            item=ids,
            tables=both,
            features=None,
            owned=owned,
        )
        add(
            bags,
            {"user": IDS, "item": IDS, "weights": WEIGHTS, "mode": WORDS},
            finite,
            user=ids,
            item=torch.tensor([0, 1, 2, 4]),
            weights=torch.ones(4),
            mode="sum",
            owned=owned,
        )
        add(
            matrix,
            {
                "ids": (
                    *IDS,
                    torch.zeros(2, 3, dtype=torch.int64),
                    torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]]).t()[::3].t()[:, :2],
                )
            },
            finite,
            ids=torch.tensor([[1, 2], [3, 4]]),
            owned=owned,
        )
    for kind in ("SGD", "Adagrad", "RowWiseAdagrad", "Adam"):
        good: dict[str, Any] = {"weight_decay": 0.0, "max_norm": None, "nonfinite": "error", "projection_scale": 1.0}
        if kind != "SGD":
            good["eps"] = 1e-8
        if kind == "Adam":
            good |= {"betas": (0.9, 0.999), "mode": "lazy"}
        pools: dict[str, Any] = dict.fromkeys(("lr", "weight_decay", "max_norm", "projection_scale", "eps"), NUMBERS)
        pools |= {
            "nonfinite": WORDS,
            "mode": WORDS,
            "betas": (*OBJECTS, (0.9,), (1.0, 0.9), (0.9, 1.5), (np.nan, 0.9), ("a", "b"), (0, 0), (0.9, 0.9, 0.9)),
        }
        add(optimizer, {name: pools[name] for name in ("lr", *good)}, None, kind=kind, lr=0.1, options={}, **good)
    add(materialize, {"method": chosen, "chunk": NUMBERS}, finite, method=coset.QuotientRemainder(4), chunk=None)
    for name in sorted(methods.registered().keys() - {"attribute_partitions"}):
        add(for_budget, {"max_bytes": NUMBERS}, is_bytes, method=name, max_bytes=10**6)
    for name in ("quotient_remainder", "hashing"):
        add(for_collisions, {"collisions": NUMBERS}, is_bytes, method=name, collisions=3)
    add(
        plan,
        {
            "tables": (*OBJECTS, [table, table], [coset.Table("user", N, DIM)]),
            "budget": (*NUMBERS, *WORDS),
            "methods": (*OBJECTS, ["full"], ["x"], [{"method": "low_rank", "rank": -1}]),
            "embedding_dims": (*ARRAYS, *OBJECTS, [-1], [2**63]),
            "optimizer": WORDS,
            "other_bytes": NUMBERS,
            "sizes": NUMBERS,
        },
        is_bytes,
        tables=[table],
        budget=10**5,
        methods=["full", "hashing"],
        embedding_dims=None,
        optimizer=None,
        other_bytes=0,
        sizes=4,
    )
    add(
        predict,
        {
            "tables": (*OBJECTS, [(table, "full")], [(table, coset.Full())] * 2, []),
            "features": (*OBJECTS, {"a": "user"}),
            "optimizer": WORDS,
            "engine": WORDS,
            "others": WORDS,
            "batch_size": NUMBERS,
            "ids_per_bag": (*NUMBERS, {"user": 2}, {"x": 1}, {"user": np.nan}),
            "threads": NUMBERS,
            "orders": (*WORDS, ["user"], ["x"]),
            "sparse": WORDS,
        },
        is_bytes,
        tables=[(table, coset.QuotientRemainder(4))],
        features=None,
        optimizer="adam",
        others=None,
        engine="plain",
        batch_size=8,
        ids_per_bag=1,
        threads=None,
        orders=(),
        sparse=False,
    )
    add(
        measure,
        {"model": OBJECTS, "optimizer": (*OBJECTS, [3], [None])},
        is_bytes,
        model=nn.Embedding(3, 2),
        optimizer=None,
    )
    add(
        compress,
        {
            "plan": (*OBJECTS, *WORDS, *NUMBERS),
            "frequencies": (*OBJECTS, *({"0": of} for of in ARRAYS)),
            "full_below": NUMBERS,
            "leave": (*WORDS, ["0"], [3], ["*"]),
            "seed": NUMBERS,
            "fit": (False, 0),
        },
        finite,
        plan={"*": coset.QuotientRemainder(4)},
        frequencies=None,
        full_below=0,
        leave=(),
        seed=0,
        fit=True,
    )
    return found
