"""A storage is a choice of a method: in JSON, in budgets, plans, the ledger, `compress_`, and across to Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from coset import (
    Blocks,
    Embedding,
    EmbeddingBagCollection,
    Full,
    LowRank,
    Plan,
    QuotientRemainder,
    Table,
    compress_,
    measure,
    plan,
    predict,
)
from coset.errors import InputError
from coset.methods import Method, from_json, registered
from coset.optimizers import RowWiseAdagrad
from coset.storage import Dense, Packed, pack_, storage
from coset.testing.cases import attributed

TABLE = attributed("item", 101, 8)
NARROW = "bfloat16", "float16"


@pytest.mark.parametrize("dtype", ["float64", "float32", *NARROW])
@pytest.mark.parametrize("kind", registered().values(), ids=lambda kind: kind.name)
def test_the_ledger_is_exact(kind: type[Method], dtype: str) -> None:
    """Predicted and measured are one, array by array, parameters and state of optimizers."""
    method = kind.examples(TABLE)[0].stored(Dense(dtype))  # type: ignore[arg-type]
    bags = EmbeddingBagCollection([(TABLE, method)])
    owned = method.descriptor(TABLE) is not None
    fused = owned and dtype != "float64"  # wider than what is computed with, which kernels do not know
    optimizer: Any = RowWiseAdagrad(bags) if fused else torch.optim.Adam(bags.parameters())
    torch.cat(list(bags({"item": torch.arange(101)}).values())).sum().backward()
    optimizer.step()
    engine, name = ("fused", "row_wise_adagrad") if fused else ("plain", "adam")
    told, found = predict([(TABLE, method)], optimizer=name, engine=engine), measure(bags, optimizer)
    lines = [{(of.key, of.shape, of.dtype, of.bytes, of.optimizer) for of in ledger.lines} for ledger in (told, found)]
    assert lines[0] == lines[1]
    assert all(of.dtype == getattr(torch, dtype) for of in told.lines if of.kind == "parameter")


@pytest.mark.parametrize("kind", registered().values(), ids=lambda kind: kind.name)
def test_the_ledger_of_packed_tables_is_exact(kind: type[Method]) -> None:
    """As they are stored without an optimizer, and in the form that one trains."""
    method = kind.examples(TABLE)[0].stored(Packed(4))
    bags = EmbeddingBagCollection([(TABLE, method)])
    optimizer = torch.optim.Adam(bags.parameters())
    torch.cat(list(bags({"item": torch.arange(101)}).values())).sum().backward()
    optimizer.step()
    for told, found in (
        (predict([(TABLE, method)], optimizer="adam"), measure(bags, optimizer)),
        (predict([(TABLE, method)]), measure(pack_(bags))),
    ):
        lines = [
            {(of.key, of.shape, of.dtype, of.kind, of.bytes, of.optimizer) for of in each.lines}
            for each in (told, found)
        ]
        assert lines[0] == lines[1]
        assert (told.parameters, told.artifact) == (found.parameters, found.artifact)


def test_half_the_bytes() -> None:
    tables = [(Table("user", 6040, 64), QuotientRemainder(120)), (Table("movie", 3706, 64), LowRank(8))]
    narrow = [(table, method.stored(Dense("bfloat16"))) for table, method in tables]
    assert predict(narrow).parameters * 2 == predict(tables).parameters


def test_json() -> None:
    method = Blocks((20,), (Full(storage=Dense("float16")), LowRank(2)), storage=Dense("bfloat16"))
    assert from_json(method.to_json()) == method
    assert LowRank(2).to_json() == {"method": "low_rank", "version": 1, "rank": 2}
    assert from_json({"method": "low_rank", "rank": 2, "storage": "float16"}) == LowRank(2, storage=Dense("float16"))
    assert repr(LowRank(2)) == "LowRank(rank=2)"
    assert repr(LowRank(2, storage=Dense("float16"))) == "LowRank(rank=2, storage=Dense(dtype='float16'))"
    assert Dense(torch.bfloat16) == Dense("bfloat16")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("bfloat61", r"unknown storage 'bfloat61': did you mean 'bfloat16'\?"),
        ("dens", r"unknown storage 'dens': did you mean 'dense'\?"),
        ({"storage": "dense", "dtype": "int8"}, "dtype must be one of 'float64', .*, not 'int8'"),
        ({"storage": "dense", "bits": 4}, "unknown field of storage 'dense' 'bits'"),
        ({"storage": "dense", "version": 7}, "version 7; this coset knows version 1"),
        ({"dtype": "float16"}, 'written {"storage": "<name>"'),
        (4, "a storage is a name like"),
    ],
)
def test_bad_choices_are_one_sentence(given: Any, sentence: str) -> None:
    for ask in (lambda: storage(given), lambda: Full(storage=given)):
        with pytest.raises(InputError, match=sentence) as error:
            ask()
        assert "\n" not in str(error.value)


def test_budgets_count_what_is_stored() -> None:
    for kind in (LowRank, QuotientRemainder, Blocks):
        wide, narrow = kind.for_budget(TABLE, 1500), kind.for_budget(TABLE, 1500, storage="bfloat16")
        assert narrow.storage == Dense("bfloat16")
        assert narrow.bytes(TABLE) <= 1500
        assert narrow.stored(Dense()).bytes(TABLE) == narrow.bytes(TABLE)  # what is chosen stays
        assert narrow.bytes(TABLE.of_dim(8)) * 2 > wide.bytes(TABLE)


def test_plans_choose_among_them() -> None:
    tables = [Table("a", 3000, 16, frequencies=np.arange(3000, 0, -1)), Table("b", 200, 16, frequencies=np.ones(200))]
    found = plan(tables, "10%", methods=[{"method": "low_rank", "storage": "bfloat16"}])
    assert Dense("bfloat16") in {method.storage for method in found.methods.values()}
    assert Plan.from_json(found.to_json()) == found
    assert found.bytes <= found.budget
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        plan(tables, "10%", methods=[{"method": "low_rank", "storage": "bfloat15"}])


def test_compress_makes_rows_narrow() -> None:
    model = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 1))
    weight = model[0].weight.detach().clone()
    report = compress_(model, {"*": {"method": "full", "storage": "bfloat16"}})
    assert (report.bytes_before, report.bytes_after) == (3200, 1600)
    assert torch.equal(model[0].materialize(), weight.bfloat16().float())


def test_options_of_bare_rows() -> None:
    """`padding_idx`, `max_norm` and `scale_grad_by_freq`, as of torch's rows within a rounding."""
    narrow = Embedding(20, 4, Full(storage=Dense("bfloat16")), padding_idx=3, max_norm=0.5, std=1.0)
    plain = nn.Embedding(20, 4, padding_idx=3, max_norm=0.5)
    assert not narrow.materialize()[3].any()
    with torch.no_grad():
        plain.weight.copy_(narrow.materialize())
    ids = torch.tensor([1, 3, 5, 5])
    found, expected = narrow(ids), plain(ids)
    assert torch.allclose(found, expected, rtol=2**-7)
    (found * torch.arange(4.0)).sum().backward()
    (expected * torch.arange(4.0)).sum().backward()
    (parameter,) = narrow.parameters()
    assert torch.allclose(parameter.grad.float(), plain.weight.grad, rtol=2**-7)


def test_a_state_of_another_storage_is_refused() -> None:
    narrow, wide = Embedding(20, 4, Full(storage=Dense("bfloat16"))), Embedding(20, 4)
    with pytest.raises(InputError, match="another table"):
        wide.load_state_dict(narrow.state_dict())


def test_a_number_beyond_the_largest_is_stored_as_the_largest() -> None:
    table = Embedding(3, 2, Full(storage=Dense("float16")))
    table.fit_(torch.tensor([[1.0, 7e4], [-1e9, 2.0], [65504.0, 0.0]]))
    assert table.materialize().tolist() == [[1.0, 65504.0], [-65504.0, 2.0], [65504.0, 0.0]]
