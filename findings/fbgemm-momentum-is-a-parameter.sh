#!/usr/bin/env bash
# Versions: fbgemm-gpu-cpu 1.8.0, torch 2.13.0 (CPU).
# A good guess: the parameters of a table that trains itself (`SplitTableBatchedEmbeddingBagsCodegen`) are its weights, the
#   state of its optimizer is among its buffers, and `state_dict()` holds all that a training needs to go on.
# Seen: the momentum of row-wise Adagrad is an `nn.Parameter` that requires a gradient, so that 1,000 rows of 16 count as
#   17,000 parameters. The learning rate and two counters are plain attributes: neither parameters nor buffers, and not in
#   `state_dict()`, so that a table that was given another rate by `set_learning_rate` goes on with that of its constructor
#   after its state was loaded.
# For coset: `measure` counts such parameters as state of an optimizer and the plain attributes as bytes that are held; who
#   loads the state of such tables has to set their rate.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} --no-deps fbgemm-gpu-cpu==1.8.0
"$folder/env/bin/python" - <<'PYTHON'
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    EmbeddingLocation,
    SplitTableBatchedEmbeddingBagsCodegen,
)


def table():
    return SplitTableBatchedEmbeddingBagsCodegen(
        [(1000, 16, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD, learning_rate=0.1,
    )


first, second = table(), table()
parameters = {name: (p.numel(), p.requires_grad) for name, p in first.named_parameters() if p.numel()}
print("parameters:", parameters)
assert parameters == {"weights_host": (16_000, True), "momentum1_host": (1_000, True)}
registered = {id(each) for each in (*first.parameters(), *first.buffers())}
plain = [name for name, value in vars(first).items() if isinstance(value, torch.Tensor) and value.numel()]
print("plain attributes:", plain)
assert "learning_rate_tensor" in plain and all(id(getattr(first, name)) not in registered for name in plain)

first.set_learning_rate(0.5)
second.load_state_dict(first.state_dict())
rates = [round(one.get_learning_rate(), 6) for one in (first, second)]
print("rates after loading:", rates)
assert rates == [0.5, 0.1]
print("as described")
PYTHON
