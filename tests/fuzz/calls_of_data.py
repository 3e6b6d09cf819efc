"""Calls of ratings, vocabularies and splits, and of sizes and methods in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from calls import Call, Calls, is_bytes, is_split
from calls_of_tables import CHOSEN
from judge import Fault
from pools import ARRAYS, NUMBERS, OBJECTS, WORDS, N

import coset
from coset.data import Ratings, Vocabulary, encode, load_ratings, ordered_split, random_split
from coset.data.splits import last_split, time_split
from coset.sizes import budget_bytes, parse_size


def calls(ratings: Path) -> list[Call]:
    """All of them; `ratings` is a file of some."""
    found = Calls()
    add = found.add

    def make_ratings(users: Any, items: Any, values: Any, times: Any) -> Any:
        return len(Ratings("mine", users, items, values, times=times))

    def ratings_of(path: Any, **given: Any) -> Any:
        return len(load_ratings(path, **given))

    def vocabulary(name: Any, raw: Any, training: Any, order: Any, known: Any, unseen: Any, asked: Any) -> Any:
        made = Vocabulary.build(name, raw, training=training, order=order, known=known, unseen=unseen)
        ids = made.lookup(asked)
        if (ids < 0).any() or (ids >= made.num_embeddings).any():
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
    add(method_of, {"given": (*CHOSEN, *OBJECTS, *WORDS)}, None, given="full")
    return found
