"""Tables and components as data."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch

from coset.errors import InputError
from coset.schema import Component, Table


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name"),
        ({"name": "a.b"}, "dots"),
        ({"num_embeddings": 0}, "num_embeddings"),
        ({"num_embeddings": -1}, "num_embeddings"),
        ({"num_embeddings": 2.0}, "num_embeddings"),
        ({"num_embeddings": True}, "num_embeddings"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"embedding_dim": "4"}, "embedding_dim"),
        ({"std": 0.0}, "std"),
        ({"std": -1.0}, "std"),
        ({"std": float("nan")}, "std"),
        ({"std": float("inf")}, "std"),
        ({"dtype": torch.int64}, "dtype"),
        ({"name": 5}, "name, a string.*5"),
        ({"name": None}, "name, a string.*None"),
        ({"std": "a"}, "'user'.*std must be a number, not 'a'"),
        ({"std": None}, "'user'.*std"),
        ({"std": True}, "'user'.*std"),
        ({"dtype": "float32"}, "'user'.*dtype.*'float32'"),
        ({"frequencies": [-1.0, float("nan"), 3.0] + [1.0] * 7}, "'user'.*frequencies must be finite"),
        ({"frequencies": [-1] + [1] * 9}, "'user'.*frequencies must be finite"),
        ({"frequencies": torch.tensor([float("nan")] * 10)}, "'user'.*frequencies must be finite"),
        ({"frequencies": [float("inf")] * 10}, "'user'.*frequencies must be finite"),
        ({"frequencies": ["many"] * 10}, "'user'.*frequencies must be 10 numbers"),
        ({"frequencies": [[1], [1, 2]] * 5}, "'user'.*frequencies must be 10 numbers"),
        ({"frequencies": [1, 2, 3]}, "'user'.*frequencies"),
        ({"frequencies": 3}, "'user'.*frequencies"),
        ({"attributes": [1] * 10}, "'user'.*attributes"),
        ({"attributes": {"genre": ["drama"] * 10}}, "'user'.*genre"),
        ({"frequencies": np.ones(9)}, "frequencies"),
        ({"frequencies": np.ones((10, 1))}, "frequencies"),
        ({"attributes": {"genre": np.zeros(11, dtype=np.int64)}}, "genre"),
    ],
)
def test_a_wrong_table_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Table(**({"name": "user", "num_embeddings": 10, "embedding_dim": 4} | fields))


def test_a_table_is_frozen_and_takes_numpy_integers() -> None:
    table = Table("user", np.int64(10), np.int32(4))  # type: ignore[arg-type]
    assert type(table.num_embeddings) is int
    assert type(table.embedding_dim) is int
    with pytest.raises(FrozenInstanceError):
        table.std = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.float64, 8), (torch.bfloat16, 2)])
def test_full_bytes(dtype: torch.dtype, size: int) -> None:
    assert Table("user", 6040, 64, dtype=dtype).full_bytes == 6040 * 64 * size


@pytest.mark.parametrize(
    "frequencies",
    [[3, 2, 1], (3, 2, 1), torch.tensor([3, 2, 1]), torch.tensor([3.0, 2.0, 1.0], dtype=torch.bfloat16),
     torch.tensor([3.0, 2.0, 1.0], requires_grad=True), np.array([3, 2, 1])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_frequencies_and_attributes_become_arrays(frequencies: Any) -> None:
    table = Table("user", 3, 4, frequencies=frequencies, attributes={"genre": [4, 0, 4]})
    assert isinstance(table.frequencies, np.ndarray)
    assert table.frequencies.tolist() == [3, 2, 1]
    assert table.attributes is not None
    assert isinstance(table.attributes["genre"], np.ndarray)
    block = table.block(1, 3)
    assert block.frequencies is not None
    assert block.frequencies.tolist() == [2, 1]


def test_an_array_of_frequencies_is_not_copied() -> None:
    counts = np.arange(3)
    assert Table("user", 3, 4, frequencies=counts).frequencies is counts


def test_a_block_cuts_what_belongs_to_its_ids() -> None:
    table = Table(
        "movie", 6, 4, std=0.1, frequencies=np.arange(6), attributes={"genre": np.arange(6) * 10}, dtype=torch.float64
    )
    block = table.block(2, 5)
    assert (block.name, block.num_embeddings, block.embedding_dim, block.std, block.dtype) == (
        "movie", 3, 4, 0.1, torch.float64,
    )  # fmt: skip
    assert block.frequencies is not None
    assert block.frequencies.tolist() == [2, 3, 4]
    assert block.attributes is not None
    assert block.attributes["genre"].tolist() == [20, 30, 40]
    assert Table("movie", 6, 4).block(0, 6) == Table("movie", 6, 4)


def test_a_block_looks_through_no_column_again(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("movie", 6, 4, frequencies=np.arange(6), attributes={"genre": np.arange(6)})
    monkeypatch.setattr(Table, "_column", None)
    assert table.block(2, 5).num_embeddings == 3
    with pytest.raises(InputError, match="num_embeddings"):
        table.block(3, 3)


def test_components() -> None:
    rows = Component("rows.weight", 10, 4, torch.float64)
    assert (rows.shape, rows.numel, rows.bytes) == ((10, 4), 40, 320)
    order = Component("order", 10, 0, torch.int32, "index")
    assert (order.shape, order.numel, order.bytes) == ((10,), 10, 40)
    assert order.under("tables.user") == Component("tables.user.order", 10, 0, torch.int32, "index")


def test_the_same_table_of_another_dim() -> None:
    table = Table("movie", 6, 4, std=0.1, frequencies=np.arange(6))
    wide = table.of_dim(16)
    assert wide == Table("movie", 6, 16, std=0.1)
    assert wide.frequencies is table.frequencies
    assert table.embedding_dim == 4
    with pytest.raises(InputError, match="embedding_dim"):
        table.of_dim(0)
