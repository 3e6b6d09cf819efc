#!/usr/bin/env bash
# Versions: torchrec 1.8.0, fbgemm-gpu-cpu 1.8.0, torch 2.13.0 (CPU).
# A good guess: `inverse_indices` of a `KeyedJaggedTensor` (rows of a batch that were written once and are meant several
#   times) are expanded by every collection, or by none.
# Seen: `EmbeddingBagCollection` expands them: two stored bags and four inverse indices give four vectors.
#   `EmbeddingCollection` does not: the same input gives the two stored lists, and nothing says that four were meant.
# For coset: collections of bags expand inverse indices as TorchRec's do; those of single vectors give stored lists, too,
#   and whoever reads both for one batch must expand the second by hand.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} --no-deps torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0 tensordict==0.15.3 \
  torchmetrics==1.9.0 lightning-utilities==0.15.3 pyre-extensions==0.0.32 typing-inspect==0.9.0 mypy-extensions==1.2.0 \
  tqdm==4.70.1 cloudpickle==3.1.3 pyvers==0.2.3
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} packaging==25.0 2>/dev/null
"$folder/env/bin/python" - <<'PYTHON' 2>&1 | grep -v is_fx_tracing
import torch
from torchrec import (
    EmbeddingBagCollection, EmbeddingBagConfig, EmbeddingCollection, EmbeddingConfig, KeyedJaggedTensor,
)

bags = EmbeddingBagCollection(
    [EmbeddingBagConfig(name="user", embedding_dim=4, num_embeddings=10, feature_names=["user"])]
)
lists = EmbeddingCollection([EmbeddingConfig(name="user", embedding_dim=4, num_embeddings=10, feature_names=["user"])])
given = KeyedJaggedTensor(
    keys=["user"], values=torch.tensor([7, 2]), lengths=torch.tensor([1, 1]), stride_per_key_per_rank=[[2]],
    inverse_indices=(["user"], torch.tensor([[0, 1, 0, 1]])),
)
pooled, found = bags(given)["user"], lists(given)["user"]
print("bags:", tuple(pooled.shape), "lists:", found.lengths().tolist())
assert pooled.shape == (4, 4)
assert torch.equal(pooled[0], pooled[2]) and torch.equal(pooled[1], pooled[3])
assert found.lengths().tolist() == [1, 1]
assert found.values().shape == (2, 4)
print("as described")
PYTHON
