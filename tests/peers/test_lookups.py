"""Lookups and steps of coset against TorchRec's `EmbeddingBagCollection` and FBGEMM's own tables."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from coset import EmbeddingBagCollection, InputError, Table
from coset.optimizers import RowWiseAdagrad

MISSING = "TorchRec and FBGEMM are not installed here; make test-peers installs them"
torchrec: Any = pytest.importorskip("torchrec", reason=MISSING, exc_type=ImportError)
fbgemm: Any = pytest.importorskip(
    "fbgemm_gpu.split_table_batched_embeddings_ops_training", reason=MISSING, exc_type=ImportError
)

FEATURES = {"seen": "movie", "liked": "movie", "genre": "genre"}
VALUES, LENGTHS = [1, 2, 3, 4, 0, 19, 7, 7, 3], [2, 1, 0, 2, 0, 1, 3, 0, 0]


def pair(weighted: bool = False) -> tuple[Any, EmbeddingBagCollection]:
    """Collections of both libraries with the same weights."""
    torch.manual_seed(0)
    config = torchrec.EmbeddingBagConfig
    theirs = torchrec.EmbeddingBagCollection(
        tables=[
            config(name="movie", embedding_dim=4, num_embeddings=20, feature_names=["seen", "liked"]),
            config(name="genre", embedding_dim=3, num_embeddings=20, feature_names=["genre"]),
        ],
        is_weighted=weighted,
    )
    ours = EmbeddingBagCollection([(Table("movie", 20, 4), "full"), (Table("genre", 20, 3), "full")], FEATURES)
    for name in ("movie", "genre"):
        ours.tables[name].fit_(theirs.embedding_bags[name].weight.detach())
    return theirs, ours


def keyed(keys: list[str], lengths: list[int], **options: Any) -> Any:
    count = sum(lengths)
    return torchrec.KeyedJaggedTensor(
        keys=keys, values=torch.tensor(VALUES[:count], dtype=torch.int64), lengths=torch.tensor(lengths), **options
    )


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("case", ["order", "weighted", "once", "extra", "empty"])
def test_vectors_are_those_of_torchrec(case: str, owned: bool) -> None:
    theirs, ours = pair(case == "weighted")
    owner = RowWiseAdagrad(ours) if owned else None
    keys = ["genre", "liked", "seen"]
    if case == "weighted":
        given = keyed(keys, LENGTHS, weights=torch.linspace(-1, 2, 9))
    elif case == "once":
        where = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0], [2, 1, 0, 0]])
        given = keyed(keys, [2, 1, 3, 0, 0, 1], stride_per_key_per_rank=[[2], [1], [3]], inverse_indices=(keys, where))
    elif case == "extra":
        given = keyed(["other", *keys], [*LENGTHS, 0, 0, 0])
    else:
        given = keyed(keys, [0] * 9 if case == "empty" else LENGTHS)
    expected = theirs(given)
    found = ours(given)
    assert list(found) == list(expected.keys()) == list(FEATURES)
    for name, vectors in expected.to_dict().items():
        torch.testing.assert_close(found[name], vectors)
    torch.testing.assert_close(ours.concatenated(given), expected.values())
    if case != "once":  # a mapping of jagged tensors says nothing of bags held once
        jagged = {name: of for name, of in given.to_dict().items() if name in FEATURES}
        for name, vectors in ours(jagged).items():
            torch.testing.assert_close(vectors, found[name])
    del owner


def test_a_key_that_is_not_there_is_named_by_both() -> None:
    theirs, ours = pair()
    given = keyed(["genre", "seen"], [1, 2])
    with pytest.raises(KeyError, match="liked"):
        theirs(given)
    with pytest.raises(InputError, match="no feature 'liked'"):
        ours.concatenated(given)


def test_row_wise_adagrad_is_that_of_fbgemm() -> None:
    place, device = fbgemm.EmbeddingLocation.HOST, fbgemm.ComputeDevice.CPU
    from fbgemm_gpu.split_embedding_configs import EmbOptimType

    theirs = fbgemm.SplitTableBatchedEmbeddingBagsCodegen(
        [(50, 8, place, device)], optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD, learning_rate=0.1, eps=1e-8
    )
    torch.manual_seed(0)
    ours = EmbeddingBagCollection([(Table("t", 50, 8), "full")])
    optimizer = RowWiseAdagrad(ours, lr=0.1, eps=1e-8)
    (weight,) = theirs.split_embedding_weights()
    weight.copy_(ours.tables["t"].materialize())
    for step in range(20):
        ids = torch.randint(50, (60,), generator=torch.Generator().manual_seed(step))
        offsets = torch.arange(0, 61, 3)
        slopes = torch.randn(20, 8, generator=torch.Generator().manual_seed(100 + step))
        vectors: list[Tensor] = [theirs(ids, offsets), ours({"t": (ids, offsets[:-1])})["t"]]
        torch.testing.assert_close(*vectors, rtol=1e-5, atol=1e-5)
        for each in vectors:
            (each * slopes).sum().backward()
        optimizer.step()
    torch.testing.assert_close(weight, ours.tables["t"].materialize(), rtol=1e-5, atol=1e-5)
