"""The files of saved models against what was predicted of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coset import Blocks, EmbeddingBagCollection, Full, Hashing, MixedDimension, QuotientRemainder, Table, predict
from coset.ledger import measure
from coset.methods import Method, registered
from coset.tasks.clicks import ClickSource, ClicksTask, ModelChoice
from coset.testing.cases import attributed
from coset.training import checkpoint
from coset.training.run import execute
from coset.training.spec import RunSpec

TABLE = attributed("ids", 100, 16)


def parts(path: Path) -> tuple[int, int]:
    """Bytes of the header of a safetensors file, with its length, and of the tensors behind it."""
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    return header, len(content) - header


CASES = [
    pytest.param(method, id=f"{name}-{at}")
    for name, kind in sorted(registered().items())
    for at, method in enumerate(kind.examples(TABLE))
]


@pytest.mark.parametrize("method", CASES)
def test_every_method(method: Method, tmp_path: Path) -> None:
    told = predict([(TABLE, method)])
    bags = EmbeddingBagCollection([(TABLE, method)])
    checkpoint.save(tmp_path / "model", "model", bags.state_dict(), {"methods": {"ids": method.to_json()}})
    header, tensors = parts(tmp_path / "model")
    assert tensors == told.artifact == measure(bags).artifact
    assert header <= told.header == 1 << 16


def test_a_model_of_26_tables_in_many_blocks(tmp_path: Path) -> None:
    blocks = Blocks((100, 400), (Full(), MixedDimension((100, 200), (8, 4)), Hashing(20)))
    given: list[tuple[Table, Method]] = [(Table(f"C{at}", 1000 + at, 16), blocks) for at in range(25)]
    given.append((Table("C25", 5000, 16), QuotientRemainder(100)))
    bags = EmbeddingBagCollection(given)
    header: dict[str, Any] = {"methods": {table.name: method.to_json() for table, method in given}, "seed": 0}
    checkpoint.save(tmp_path / "model", "model", bags.state_dict(), header)
    told = predict(given)
    found = parts(tmp_path / "model")
    assert found[1] == told.artifact == sum(value.nbytes for value in bags.state_dict().values())
    assert found[0] <= told.header


@pytest.mark.parametrize("count", [300, 900, 3000])
def test_arrays_of_long_names(count: int, tmp_path: Path) -> None:
    """The header holds each name, with a type, a shape and a place; so thousands of them take more than 64 KiB."""
    model = nn.ParameterDict({f"{'an_array_of_a_long_name_' * 5}{at}": torch.zeros(400, 1) for at in range(count)})
    checkpoint.save(tmp_path / "model", "model", model.state_dict(), {})
    told = measure(model)
    header, tensors = parts(tmp_path / "model")
    assert tensors == told.artifact == count * 1600
    assert header <= told.header <= (1 << 16) + 2 * header


@pytest.mark.compiles
def test_a_run_of_clicks(clicks: Any, tmp_path: Path) -> None:
    """Its model holds layers beside the tables, and all choices, versions and settings in the header."""
    methods: dict[str, Method] = {"C1": QuotientRemainder(14), "C2": Hashing(5)}
    spec = RunSpec(ClicksTask(ClickSource("mine"), ModelChoice.from_json({"name": "dlrm"})), methods, seed=0)
    execute(spec, tmp_path / "run", clicks)
    header, tensors = parts(tmp_path / "run" / "model.safetensors")
    model = spec.build(clicks)
    assert tensors == measure(model).artifact
    told = predict([(table, methods.get(table.name, Full())) for table in spec.task.tables(clicks)])
    kept = sum(line.bytes for line in measure(model).lines if ".tables." in line.key)
    assert kept == told.inference
    assert header <= told.header
