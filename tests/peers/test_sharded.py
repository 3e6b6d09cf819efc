"""Models that TorchRec has sharded: what a rank holds of them, as its own memory is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import distributed, nn

from coset import LowRank, compress_, measure

MISSING = "TorchRec is not installed here; make test-peers installs it"
torchrec: Any = pytest.importorskip("torchrec", reason=MISSING, exc_type=ImportError)


@pytest.fixture
def sharded() -> Iterator[Any]:
    """A model in TorchRec's DistributedModelParallel, on the only rank there is."""
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        tables = [
            torchrec.EmbeddingBagConfig(name=name, embedding_dim=16, num_embeddings=rows, feature_names=[feature])
            for name, rows, feature in (("t", 1000, "a"), ("u", 500, "b"))
        ]
        collection = torchrec.EmbeddingBagCollection(tables=tables, device=torch.device("meta"))
        apply_optimizer_in_backward(torch.optim.Adagrad, collection.parameters(), {"lr": 0.1})
        model = nn.ModuleDict({"tables": collection, "dense": nn.Linear(4, 4)})
        yield DistributedModelParallel(model, device=torch.device("cpu"))
    finally:
        distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")  # torchrec's and torch's own, of ShardedTensor
def test_a_sharded_model_takes_what_this_rank_holds(sharded: Any) -> None:
    found = measure(sharded)
    assert found.parameters == 4 * (1500 * 16 + 4 * 4 + 4)
    assert found.optimizer == 4 * 1500 * 16  # Adagrad's, which its kernels hold
    both = measure(sharded, sharded.fused_optimizer)
    assert (both.parameters, both.optimizer, both.held) == (found.parameters, found.optimizer, found.held)
    report = compress_(sharded, LowRank(4))
    assert not report.tables
    assert [left.kind for left in report.left] == ["ShardedEmbeddingBagCollection"]
    assert measure(sharded).parameters == found.parameters
