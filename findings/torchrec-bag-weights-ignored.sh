#!/usr/bin/env bash
# Versions: torchrec 1.8.0, fbgemm-gpu-cpu 1.8.0, torch 2.13.0 (CPU).
# A good guess: an `EmbeddingBagCollection` given a `KeyedJaggedTensor` with weights uses them, or says that it does not:
#   `torch.nn.EmbeddingBag` uses `per_sample_weights` whenever they are given.
# Seen: only a collection made with `is_weighted=True` reads weights. Without it, which is the default, the weights of the
#   same input are dropped without a word and the bags are plain sums; with it, an input without weights is an error.
# For coset: its collections use the weights of a KeyedJaggedTensor whenever there are some, so moving a model from
#   TorchRec changes its vectors where weights were given to a collection that was not told so.
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
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType

config = EmbeddingBagConfig(
    name="tags", embedding_dim=4, num_embeddings=10, feature_names=["tags"], pooling=PoolingType.SUM
)
plain, weighted = EmbeddingBagCollection([config]), EmbeddingBagCollection([config], is_weighted=True)
weighted.load_state_dict(plain.state_dict())
rows = plain.state_dict()["embedding_bags.tags.weight"]
ids, lengths, weights = torch.tensor([1, 2, 3]), torch.tensor([2, 1]), torch.tensor([2.0, 3.0, 4.0])
given = KeyedJaggedTensor(keys=["tags"], values=ids, lengths=lengths, weights=weights)

print("default:", plain(given)["tags"][1].tolist(), "row:", rows[3].tolist())
assert torch.equal(plain(given)["tags"][1], rows[3])
assert torch.allclose(weighted(given)["tags"][1], 4 * rows[3])
bag = torch.nn.functional.embedding_bag(ids, rows, torch.tensor([0, 2]), mode="sum", per_sample_weights=weights)
assert torch.allclose(weighted(given)["tags"], bag)
try:
    weighted(KeyedJaggedTensor(keys=["tags"], values=ids, lengths=lengths))
except AssertionError as error:
    print("is_weighted=True without weights:", error)
else:
    raise SystemExit("an input without weights was taken")
print("as described")
PYTHON
