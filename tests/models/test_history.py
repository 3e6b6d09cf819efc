"""Packed histories: what is read is what was put in, in the fewest bytes; long ones are bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coset.models.history import Histories, HistorySizes


def drawn(users: int, rows: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(users)
    return draw.integers(0, users - 2, rows), (draw.random(rows) ** 3 * items).astype(np.int64)


def read(histories: Histories, user: int) -> list[int]:
    found = histories.read(torch.tensor([user]))
    assert found.begins.tolist() == [0]
    assert found.counts.tolist() == [len(found.items)]
    return found.items.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("items", "kind"), [(40, "uint8"), (254, "uint8"), (255, "uint8"), (30_000, "int16"), (10**9, "int32")]
)
def test_what_is_read_is_what_was_put_in(items: int, kind: str) -> None:
    users, rated = drawn(50, 900, items)
    found = Histories.of(users, rated, users_in_all=50, most=1000)
    assert found.sizes.type == kind
    asked = torch.tensor([7, 49, 3, 3, 0])  # the last two users rated nothing
    several = found.read(asked)
    for number, user in enumerate(asked.tolist()):
        wanted = np.unique(rated[users == user]).tolist()
        begin = int(several.begins[number])
        assert several.items[begin : begin + int(several.counts[number])].tolist() == wanted
        assert read(found, user) == wanted
    assert read(found, 49) == []
    assert len(found.read(asked[:0]).items) == 0


def test_steps_that_a_type_cannot_hold() -> None:
    steps = [0, 253, 254, 255, 256, 509, 510, 511, 1021]
    items = np.cumsum(steps) + np.arange(len(steps))
    found = Histories.of(np.zeros(len(items), np.int64), items, users_in_all=1, most=1000)
    assert read(found, 0) == items.tolist()


def test_bytes_are_those_of_the_state() -> None:
    users, rated = drawn(50, 900, 40)
    found = Histories.of(users, rated, users_in_all=50, most=1000)
    assert found.bytes == sum(value.nbytes for value in found.state_dict().values())
    assert found.bytes < 4 * 50 + 1.2 * len(set(zip(users.tolist(), rated.tolist(), strict=True)))
    like = Histories(found.sizes)
    like.load_state_dict(found.state_dict())
    assert read(like, 5) == read(found, 5)
    with torch.device("meta"):
        assert Histories(found.sizes).bytes == found.bytes


def test_a_long_history_is_spread_over_its_items() -> None:
    items = np.arange(100_000)
    users = np.repeat([0, 1], [99_990, 10])
    found = Histories.of(users, items, users_in_all=2, most=500)
    kept = read(found, 0)
    assert len(kept) == 500
    assert max(np.diff(kept)) - min(np.diff(kept)) <= 1
    assert kept[-1] < 99_990
    assert read(found, 1) == items[-10:].tolist()
    assert found.sizes == Histories.of(users, items, users_in_all=2, most=500).sizes


def test_no_rows() -> None:
    none = np.zeros(0, np.int64)
    found = Histories.of(none, none, users_in_all=3, most=5)
    assert found.sizes == HistorySizes(3, 0, "uint8")
    assert read(found, 2) == []
