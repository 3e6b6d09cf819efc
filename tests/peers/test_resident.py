"""What models of the peers take in bytes, and what `compress_` leaves of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from coset import LowRank, compress_, measure

MISSING = "TorchRec, FBGEMM and torchao are not installed here; make test-peers installs them"
torchrec: Any = pytest.importorskip("torchrec", reason=MISSING, exc_type=ImportError)
quantization: Any = pytest.importorskip("torchao.quantization", reason=MISSING, exc_type=ImportError)
training: Any = pytest.importorskip(
    "fbgemm_gpu.split_table_batched_embeddings_ops_training", reason=MISSING, exc_type=ImportError
)
inference: Any = pytest.importorskip(
    "fbgemm_gpu.split_table_batched_embeddings_ops_inference", reason=MISSING, exc_type=ImportError
)
configs: Any = pytest.importorskip("fbgemm_gpu.split_embedding_configs", reason=MISSING, exc_type=ImportError)


def collection() -> Any:
    return torchrec.EmbeddingBagCollection(
        tables=[torchrec.EmbeddingBagConfig(name="t", embedding_dim=16, num_embeddings=1000, feature_names=["a"])]
    )


def quantized(dtype: torch.dtype) -> nn.Module:
    from torchrec.inference.modules import quantize_embeddings

    made: nn.Module = quantize_embeddings(nn.Sequential(collection()), dtype, inplace=False)
    return made


def trained_by_itself() -> Any:
    host, cpu = training.EmbeddingLocation.HOST, training.ComputeDevice.CPU
    return training.SplitTableBatchedEmbeddingBagsCodegen(
        [(1000, 16, host, cpu)], optimizer=configs.EmbOptimType.EXACT_ROWWISE_ADAGRAD, learning_rate=0.1
    )


def int8_linear() -> nn.Module:
    made = nn.Sequential(nn.Linear(256, 256, bias=False))
    quantization.quantize_(made, quantization.Int8WeightOnlyConfig())
    return made


def test_a_linear_layer_of_torchao_takes_its_values_and_scales() -> None:
    assert measure(int8_linear()).inference == measure(int8_linear()).parameters == 256 * 256 + 4 * 320


@pytest.mark.parametrize(
    ("dtype", "rows", "held"),
    [
        (torch.quint2x4, 16_000, 8_181),  # rows of 4 bytes and their scales, padded to 16
        (torch.quint4x2, 16_000, 12_181),
        (torch.qint8, 32_000, 20_181),
    ],
)
def test_a_quantized_table_of_torchrec_takes_its_padded_rows(dtype: torch.dtype, rows: int, held: int) -> None:
    """And holds values and scales in tensors of their own beside them."""
    found = measure(quantized(dtype))
    assert (found.parameters, found.index, found.held) == (0, rows, held)


def test_a_table_of_fbgemm_for_inference_takes_weights_that_are_no_buffers() -> None:
    table = inference.IntNBitTableBatchedEmbeddingBagsCodegen(
        [("t", 1000, 16, configs.SparseType.INT8, inference.EmbeddingLocation.HOST)], device="cpu"
    )
    table.fill_random_weights()
    found = measure(table)
    assert found.parameters == 0
    assert 20_000 <= found.inference <= 20_400


def test_momentum_of_a_table_that_trains_itself_is_state_of_its_optimizer() -> None:
    table = trained_by_itself()
    found = measure(table)
    assert (found.parameters, found.optimizer) == (64_000, 4_000)
    registered = [*table.parameters(), *table.buffers()]
    # Beside these it keeps a rate and two counters, 20 bytes, as plain attributes, which are in memory all the same.
    plain = [value for value in vars(table).values() if isinstance(value, torch.Tensor)]
    assert sum(each.nbytes for each in plain) == 20
    assert found.inference + found.optimizer == sum(each.nbytes for each in [*registered, *plain]) == 68_300


def fused() -> Any:
    from torchrec.modules.fused_embedding_modules import FusedEmbeddingBagCollection

    config = torchrec.EmbeddingBagConfig(name="t", embedding_dim=16, num_embeddings=1000, feature_names=["a"])
    return FusedEmbeddingBagCollection(
        tables=[config], optimizer_type=torch.optim.SGD, optimizer_kwargs={"lr": 0.1}, device=torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (int8_linear, []),  # no table at all
        (lambda: quantized(torch.quint4x2), [("peer.0", "EmbeddingBagCollection", 28_181)]),
        (trained_by_itself, [("peer", "SplitTableBatchedEmbeddingBagsCodegen", 64_300)]),
        (fused, [("peer", "FusedEmbeddingBagCollection", 64_328)]),
    ],
    ids=["torchao", "torchrec quantized", "fbgemm", "torchrec fused"],
)
def test_what_the_peers_hold_is_left_and_told_of(make: Any, told: list[tuple[str, str, int]]) -> None:
    model = nn.ModuleDict({"e": nn.Embedding(1000, 64), "peer": make()})
    before = measure(model["peer"]).inference
    report = compress_(model, LowRank(4))
    assert model["e"].method == LowRank(4)
    assert measure(model["peer"]).inference == before
    assert [(left.name, left.kind, left.bytes) for left in report.left] == told
    assert {left.why for left in report.left} <= {"no nn.Embedding or nn.EmbeddingBag"}


def test_plain_tables_in_a_collection_of_torchrec_are_compressed() -> None:
    """They are torch's own modules, and the collection goes on looking them up."""
    model = nn.ModuleDict({"peer": collection()})
    report = compress_(model, LowRank(4))
    assert [(of.name, of.method) for of in report.tables] == [("peer.embedding_bags.t", LowRank(4))]
    given = torchrec.KeyedJaggedTensor(keys=["a"], values=torch.tensor([1, 2, 5]), lengths=torch.tensor([2, 0, 1]))
    rows = model["peer"].embedding_bags["t"].materialize()
    expected = torch.stack([rows[1] + rows[2], torch.zeros(16), rows[5]])
    torch.testing.assert_close(model["peer"](given).values(), expected)
