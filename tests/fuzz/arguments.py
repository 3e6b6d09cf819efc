"""Calls of coset in Python with one or two arguments replaced: a result is finite and of the right shape, and an error
is a sentence that coset itself raises, of a documented type; but where an argument is of another sort than the one that
was replaced, as an object in the place of a number, Python's own `TypeError` or `AttributeError` will do."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import mutate
import numpy as np
import torch
from judge import Fault, check_sentence
from torch import nn

import coset
from coset import methods, optimizers
from coset.data import Ratings, Vocabulary, encode, load_ratings, ordered_split, random_split
from coset.data.splits import last_split, time_split
from coset.sizes import budget_bytes, parse_size

DOCUMENTED = (ValueError, TypeError, IndexError, KeyError, FloatingPointError)
"""`InputError` is a `ValueError`."""

FOREIGN = (TypeError, AttributeError)

PACKAGE = str(Path(coset.__file__).parent)
N, DIM = 12, 4
COUNTS = np.arange(N, 0, -1)

NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 5, N, N + 1, True, 0.5, 3.0, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"), 2**63,
    -(2**63), 10**400, np.int64(3), np.uint8(3), np.float32(0.5), np.float64("nan"), np.array(3), np.array([3]),
    torch.tensor(3), torch.tensor(0.5), "3", "", None, [3], 3 + 0j,
)  # fmt: skip
WORDS: tuple[Any, ...] = (
    "", "x", "full", "sum", "mean", "max", "adam", "sgd", "random", "shared", "error", "25%", "1KB", "-1", "nan%",
    "1" * 500, "\x00", "é.", "a.b", b"full", None, 0, 1, True, 0.5, ("a",), ["sum"], {}, {"a": 1}, np.str_("sum"),
)  # fmt: skip
ARRAYS: tuple[Any, ...] = (
    np.arange(N), np.arange(N)[::-1], np.arange(2 * N)[::2], np.arange(N, dtype=np.uint64), np.arange(N, dtype=np.int8),
    np.arange(N) - 1, np.arange(N) + 1, np.full(N, 2**62), np.zeros(N), np.ones(N, dtype=bool), np.full(N, np.nan),
    np.full(N, np.inf), np.full(N, 1e308), np.full(N, -1.0), np.arange(N).astype(np.float16), np.arange(N) / 3,
    np.arange(N) + 0j, np.arange(N).astype("M8[s]"), np.array(["a"] * N), np.array(["a", 1] * (N // 2), dtype=object),
    np.zeros((N, 1), dtype=int), np.zeros(0), np.zeros(0, dtype=int), np.array(3), np.arange(N - 1),
    np.broadcast_to(np.int64(1), N), list(range(N)), tuple(range(N)), [1, [2]], [], range(N), "abc", None, 5, {},
    torch.arange(N), torch.arange(N).flip(0), torch.ones(N, requires_grad=True), torch.arange(N, device="meta"),
    torch.arange(N, dtype=torch.int32)[::2], torch.ones(N).to_sparse(), torch.ones(N, dtype=torch.bfloat16),
)  # fmt: skip
IDS: tuple[Any, ...] = (
    torch.tensor([0, 3, 3, N - 1]), torch.tensor([[0, 1], [2, 3]]), torch.tensor([], dtype=torch.int64),
    torch.tensor(3),
    torch.tensor([0, N]), torch.tensor([-1, 2]), torch.tensor([2**62, 0]), torch.tensor([-(2**63)]), torch.zeros(3),
    torch.tensor([1, 0], dtype=torch.int32), torch.tensor([1, 0], dtype=torch.uint8), torch.tensor([True, False]),
    torch.tensor([1.0, float("nan")]), torch.arange(8)[::2], torch.arange(6).reshape(2, 3).t(),
    torch.tensor([3]).expand(4), torch.zeros(0, 3, dtype=torch.int64), torch.zeros(3, 0, dtype=torch.int64),
    torch.zeros(2, 2, 2, dtype=torch.int64), torch.tensor([1, 2]).to_sparse(), torch.tensor([1, 2], device="meta"),
    torch.tensor([1 + 0j]), torch.tensor([1, 2], dtype=torch.int16), torch.tensor([1, 2], dtype=torch.uint64),
    np.array([1, 2]), [1, 2], 3, None, "1", (torch.tensor([1]), torch.tensor([0])), {}, torch.tensor([0, 0, 2, 4]),
    torch.tensor([0, 2, 1]), torch.tensor([1, 2]), torch.tensor([0, 9]), torch.tensor([0]), torch.tensor([0, 2]),
)  # fmt: skip
WEIGHTS: tuple[Any, ...] = (
    torch.ones(4), torch.full((4,), 1e30), torch.tensor([1.0, -1, 0, 2]), torch.ones(4, dtype=torch.float64),
    torch.ones(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bfloat16),
    torch.ones(8)[::2], torch.ones(3), torch.ones(4, 1), torch.ones(()), torch.ones(0),
    torch.ones(4, requires_grad=True),
    torch.ones(4, device="meta"), torch.ones(4).to_sparse(), torch.ones(4) + 0j, np.ones(4), [1.0] * 4, 1.0, "w", None,
)  # fmt: skip
OBJECTS: tuple[Any, ...] = (
    *mutate.VALUES, nn.Linear(2, 2), nn.Embedding(3, 2), nn.LazyLinear(2), coset.Full(), coset.QuotientRemainder(4),
    coset.LowRank(2), coset.LowRank, object(), lambda *_: None, torch.float16, torch.int64, torch.complex64, np.float32,
    [("a", 1)], {"*": {}}, {"*": "full"}, {"0": "x"}, {"*": 5}, {"method": "low_rank", "rank": 4},
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One way to call coset.

    Args:
        name: of what is called.
        run: the call.
        good: arguments of a call that succeeds, by name.
        pools: what may stand in the place of each.
        check: raises a `Fault` where the result of a call that was not refused is wrong.
    """

    name: str
    run: Callable[..., Any]
    good: dict[str, Any]
    pools: dict[str, tuple[Any, ...]]
    check: Callable[[Any, dict[str, Any]], None] = lambda *_: None


def finite(found: Any, given: dict[str, Any]) -> None:
    """Vectors hold numbers, as what they are made of does."""
    for each in found.values() if isinstance(found, dict) else [found]:
        if not isinstance(each, torch.Tensor) or each.shape[-1] != DIM:
            raise Fault(f"no vectors of {DIM}: {each!r}")
        if not each.is_meta and not bool(torch.isfinite(each).all()):
            raise Fault(f"vectors that are not finite: {each!r}")


def is_vector(found: Any, given: dict[str, Any]) -> None:
    """A lookup gives a vector for each id."""
    finite(found, given)
    if found.shape[:-1] != given["input"].shape:
        raise Fault(f"{tuple(found.shape)} of ids of shape {tuple(given['input'].shape)}")


def is_bytes(found: Any, given: dict[str, Any]) -> None:
    """A size is a whole number."""
    if type(found) is not int or found < 0:
        raise Fault(f"no number of bytes: {found!r}")


def is_split(found: Any, given: dict[str, Any]) -> None:
    """Every row is in one part, and both have some."""
    rows = np.concatenate([found.training, found.validation])
    if not len(found.training) or not len(found.validation) or not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise Fault(f"no split: {found!r}")


def calls(ratings: Path) -> list[Call]:
    """All of them; what they are called on is made anew in each, as some change it."""
    table = coset.Table("user", N, DIM, frequencies=COUNTS)
    chosen: tuple[Any, ...] = (
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
    found: list[Call] = []

    def add(run: Callable[..., Any], pools: dict[str, tuple[Any, ...]], check: Any = None, **good: Any) -> None:
        found.append(Call(run.__name__, run, good, pools, check or (lambda *_: None)))

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

    def make_ratings(users: Any, items: Any, values: Any, times: Any) -> Any:
        return len(Ratings("mine", users, items, values, times=times))

    def ratings_of(path: Any, **given: Any) -> Any:
        return len(load_ratings(path, **given))

    def vocabulary(name: Any, raw: Any, training: Any, order: Any, known: Any, unseen: Any, asked: Any) -> Any:
        made = Vocabulary.build(name, raw, training=training, order=order, known=known, unseen=unseen)
        ids = made.lookup(asked)
        if ids.min() < 0 or ids.max() >= made.num_embeddings:
            raise Fault(f"ids {ids} of {made.num_embeddings}")
        return ids

    def encoded(validation: Any, seed: Any, **given: Any) -> Any:
        data = Ratings("mine", list(range(N)), [1, 2] * (N // 2), [1, 2, 3] * (N // 3))
        return encode(data, random_split(N, validation, seed), **given)

    def by_time(times: Any, validation: Any) -> Any:
        return time_split(times, validation)

    def by_user(users: Any, times: Any) -> Any:
        return last_split(users, times)

    def size(text: Any) -> Any:
        return parse_size(text)

    def share(budget: Any, full: Any) -> Any:
        return budget_bytes(budget, full)

    def method_of(given: Any) -> Any:
        return coset.method(given)

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
    add(
        make_ratings,
        {"users": ARRAYS, "items": ARRAYS, "values": ARRAYS, "times": ARRAYS},
        is_bytes,
        users=list(range(N)),
        items=["a"] * N,
        values=[1.0] * N,
        times=None,
    )
    add(
        ratings_of,
        {
            "path": (*WORDS, *OBJECTS, ratings.parent, ratings.parent / "none.csv"),
            "user": WORDS,
            "item": WORDS,
            "rating": WORDS,
            "separator": (*WORDS, ";", ",,", "::"),
            "user_attributes": (*WORDS, ["user"], ["x"], [3]),
        },
        is_bytes,
        path=ratings,
        user="user",
        item="item",
        rating="rating",
        separator=",",
        user_attributes=None,
    )
    add(
        vocabulary,
        {
            "name": WORDS,
            "raw": ARRAYS,
            "training": ARRAYS,
            "order": WORDS,
            "known": (*WORDS, "all", "training"),
            "unseen": WORDS,
            "asked": ARRAYS,
        },
        None,
        name="user",
        raw=np.arange(N),
        training=np.arange(N),
        order="frequency",
        known="all",
        unseen="shared",
        asked=np.arange(N),
    )
    add(
        encoded,
        {
            "validation": NUMBERS,
            "seed": NUMBERS,
            "user_order": WORDS,
            "frequencies": (*WORDS, "all", "training"),
            "known": WORDS,
            "unseen": WORDS,
        },
        None,
        validation=0.25,
        seed=0,
        user_order="frequency",
        frequencies="training",
        known=None,
        unseen=None,
    )
    add(
        random_split,
        {"n": NUMBERS, "validation": NUMBERS, "seed": NUMBERS, "together": ARRAYS},
        is_split,
        n=N,
        validation=0.25,
        seed=0,
        together=None,
    )
    add(ordered_split, {"n": NUMBERS, "validation": NUMBERS}, is_split, n=N, validation=0.25)
    add(by_time, {"times": ARRAYS, "validation": NUMBERS}, is_split, times=np.arange(N), validation=0.25)
    add(by_user, {"users": ARRAYS, "times": ARRAYS}, is_split, users=np.arange(N) % 3, times=np.arange(N))
    add(size, {"text": (*WORDS, *NUMBERS)}, is_bytes, text="1KB")
    add(share, {"budget": (*WORDS, *NUMBERS)}, is_bytes, budget="25%", full=1000)
    add(method_of, {"given": (*chosen, *OBJECTS, *WORDS)}, None, given="full")
    return found


class Arguments:
    """Calls with one or two arguments of another kind or value."""

    def __init__(self, folder: Path) -> None:
        ratings = folder / "ratings.csv"
        ratings.write_text("user,item,rating\n" + "".join(f"{at},{at % 3},{at % 5}\n" for at in range(N)))
        self.calls = calls(ratings)
        for call in self.calls:
            try:
                call.check(call.run(**call.good), call.good)
            except DOCUMENTED as error:
                raise Fault(f"{call.name}: a good call is refused: {error}") from error

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One of the calls."""
        call = draw.choice(self.calls)
        given = dict(call.good)
        for name in draw.sample(sorted(call.pools), min(len(call.pools), draw.choice((1, 1, 2)))):
            given[name] = draw.choice(call.pools[name])
        torch.manual_seed(0)
        told = ", ".join(f"{name}={_brief(value)}" for name, value in given.items())
        try:
            found = call.run(**given)
        except Exception as error:
            if isinstance(error, DOCUMENTED) and _ours(error):
                check_sentence(str(error.args[0]))
                return "refused"
            if isinstance(error, FOREIGN) and any(_sort(given[name]) != _sort(of) for name, of in call.good.items()):
                return "refused"
            error.add_note(f"{call.name}({told})")
            raise
        try:
            call.check(found, given)
        except Exception as error:
            raise Fault(f"{call.name}({told}): {error}") from error
        return "taken"


def _ours(error: BaseException) -> bool:
    """Whether a statement of coset's raised it."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None:
        return False
    code = at.tb_frame.f_code.co_filename
    return code.startswith(PACKAGE) and linecache.getline(code, at.tb_lineno).strip().startswith("raise ")


def _sort(value: Any) -> str:
    """What sort of thing an argument is, as types in signatures say it."""
    sorts = {
        "flag": bool,
        "number": (int, float, np.number),
        "text": str,
        "tensor": torch.Tensor,
        "table": dict,
        "column": (np.ndarray, list, tuple),
    }
    return next((name for name, kinds in sorts.items() if isinstance(value, kinds)), type(value).__name__)


def _brief(value: Any) -> str:
    text = " ".join(repr(value).split()) if not isinstance(value, int) or value.bit_length() < 1000 else "10**400"
    return text if len(text) < 100 else f"{text[:99]}…"


def group(folder: Path) -> Arguments:
    """The group of this file."""
    return Arguments(folder)
