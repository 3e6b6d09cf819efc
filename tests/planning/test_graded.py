"""Storages as candidates of a plan: what rounding loses, and bits that follow popularity."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from coset import Blocks, Dense, Full, LowRank, Packed, Table, plan, predict
from coset.errors import InputError
from coset.methods.traffic import Traffic
from coset.planning.graded import graded
from coset.planning.planner import predicted_losses
from coset.planning.proxy import Proxy
from coset.planning.storages import AllowedStorages


def table(name: str = "user", ids: int = 20_000, dim: int = 16) -> Table:
    return Table(name, ids, dim, frequencies=1e6 / (1 + np.arange(ids)))


def test_fewer_bits_are_predicted_to_lose_more() -> None:
    both = [table(), table("item", 5000)]
    found = [predicted_losses(both, {"user": Full(storage=Packed(bits))})["user"] for bits in (8, 6, 4, 3, 2)]
    assert found == sorted(found)
    whole = predicted_losses(both, {})["user"]
    assert found[0] == pytest.approx(whole, abs=1e-3)
    assert found[-1] > whole + 0.02
    # A table of few bits in half the dims loses what both do.
    narrow = predicted_losses(both, {"user": LowRank(8)})["user"]
    assert predicted_losses(both, {"user": LowRank(8, storage=Packed(3))})["user"] > narrow
    assert predicted_losses(both, {"user": Full(storage=Dense("bfloat16"))})["user"] == whole


def test_columns_without_bits_are_lost() -> None:
    few = Full(storage=Packed((8,) * 8 + (0,) * 8))
    both = [table(), table("item", 5000)]
    assert predicted_losses(both, {"user": few})["user"] == pytest.approx(
        predicted_losses(both, {"user": LowRank(8)})["user"], abs=1e-3
    )


def test_bits_follow_popularity() -> None:
    own = table()
    traffic = Traffic.of(own)
    found = list(graded(own, traffic, Proxy().judge(traffic, 2), AllowedStorages()))
    sizes = [method.bytes(own) for method in found]
    assert sizes == sorted(sizes)
    assert sizes[0] < 5000 < 300_000 < sizes[-1]
    for method in found:
        blocks = [of.bytes(block) / block.num_embeddings for block, of in method.blocks(own)]
        assert all(one >= 0.95 * other for one, other in pairwise(blocks))
    assert not list(graded(own, traffic, Proxy().judge(traffic, 2), AllowedStorages(["float32"])))
    drawn = np.random.default_rng(0).permutation(own.frequencies)
    mixed = Traffic.of(Table("user", 20_000, 16, frequencies=drawn))
    assert not list(graded(own, mixed, Proxy().judge(mixed, 2), AllowedStorages()))


def test_a_plan_in_few_bits_loses_less_than_one_in_floats() -> None:
    tables = [table(), table("item", 5000), Table("day", 7, 16, frequencies=[9] * 7)]
    floats = plan(tables, "3%", embedding_dims=[16])
    found = plan(tables, "3%", embedding_dims=[16], storages=["packed", "bfloat16"])
    assert found.bytes <= floats.budget
    assert found.loss < 0.8 * floats.loss
    fitted = found.fitted(tables)
    assert fitted.bytes == found.bytes
    assert found.from_json(found.to_json()) == found
    assert any(isinstance(of, Blocks) for of in found.methods.values())
    assert plan(tables, "3%", embedding_dims=[16], storages=["float32"]).methods == floats.methods


def test_an_optimizer_of_coset_leaves_out_what_it_does_not_train() -> None:
    tables = [table(ids=2000), table("item", 500)]
    found = plan(tables, "10%", optimizer="row_wise_adagrad", storages=["packed", "bfloat16"])
    assert "Packed" not in repr(found.methods)
    codes = {"storage": "packed", "bits": 8, "step": "row", "masters": False}  # are trained as they are stored
    found = plan(tables, "10%", optimizer="row_wise_adagrad", storages=[codes])
    assert "masters=False" in repr(found.methods)
    told = predict([(of.of_dim(found.embedding_dim), found.methods[of.name]) for of in tables],
                   optimizer="row_wise_adagrad", engine="fused")  # fmt: skip
    assert found.optimizer_bytes == told.optimizer > 0
    assert found.bytes == told.parameters + told.index + told.optimizer
    with pytest.raises(InputError, match="unknown storage 'few'"):
        plan(tables, "10%", storages=["few"])
