"""Several processes: until gradients are exchanged, a step among several ranks is refused, and shards are, too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from coset.errors import InputError
from coset.optimizers import SGD, Adagrad, Adam, RowWiseAdagrad, TableOptimizer
from coset.schema import Table
from coset.tables import EmbeddingBagCollection

KINDS: list[Callable[..., TableOptimizer]] = [
    SGD,
    Adagrad,
    RowWiseAdagrad,
    Adam,
    lambda m, **o: Adam(m, mode="dense", **o),
]
pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch without torch.distributed")


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """A group of two that exchanges nothing: torch's own stand-in."""
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    dist.init_process_group("fake", rank=0, world_size=2, store=fake.FakeStore())
    yield
    dist.destroy_process_group()


def trained(
    kind: Callable[..., TableOptimizer], **options: Any
) -> tuple[EmbeddingBagCollection, torch.Tensor, TableOptimizer]:
    bags = EmbeddingBagCollection([(Table("a", 20, 4), "full")])
    optimizer = kind(bags, **options)
    bags({"a": torch.tensor([1, 2])})["a"].sum().backward()
    return bags, bags.tables["a"].rows.weight, optimizer


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_among_ranks_changes_nothing_and_says_why(kind: Callable[..., TableOptimizer], two_ranks: None) -> None:
    kept, rows, optimizer = trained(kind)
    before = rows.detach().clone()
    with pytest.raises(InputError, match=r"2 ranks.*drift apart.*replicas='independent'"):
        optimizer.step()
    assert torch.equal(rows, before)
    assert optimizer.steps == 0
    kept, rows, optimizer = trained(kind, replicas="independent")
    before = rows.detach().clone()
    optimizer.step()
    assert not torch.equal(rows, before)
    assert kept.tables["a"].rows.weight is rows


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_two_real_processes(tmp_path: Path) -> None:
    words = [sys.executable, str(Path(__file__).with_name("rank.py")), str(tmp_path)]
    subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=280)
    for rank in range(2):
        lines = (tmp_path / f"{rank}.txt").read_text()
        assert "whole SGD: torch.distributed has 2 ranks" in lines
        assert "part SGD: torch.distributed has 2 ranks" in lines
        assert "unchanged True" in lines
        assert "alone nothing" in lines
        assert "sharded optimizer: SGD can own no table here: 'u' of bags (its weight is a DTensor" in lines
        assert lines.count("was replaced") == 2
