#!/usr/bin/env bash
# Versions: torchrec 1.8.0, fbgemm-gpu-cpu 1.8.0, torch 2.13.0 (CPU).
# A good guess: a collection quantized to int8 by `torchrec.inference.modules.quantize_embeddings` takes a byte an element
#   and a scale and a bias a row, once, and `state_dict` says how much.
# Seen: two copies of every table stay in the process: the rows of FBGEMM's operator, padded to 16 bytes, which is what
#   `state_dict` and `buffers` show, and the codes as they were quantized, in a tensor that neither shows. 10,000 rows of
#   64 dims take 800,000 and 680,000 bytes, where the codes are 640,000; `embedding_bags` alone tells of 800,000.
# For coset: sizes of a quantized peer are taken from the memory that tensors hold, not from a state or from buffers.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} --no-deps torchrec==1.8.0 fbgemm-gpu-cpu==1.8.0 tensordict==0.15.3 \
  torchmetrics==1.9.0 lightning-utilities==0.15.3 pyre-extensions==0.0.32 typing-inspect==0.9.0 mypy-extensions==1.2.0 \
  tqdm==4.70.1 cloudpickle==3.1.3 pyvers==0.2.3
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} packaging==25.0 2>/dev/null
"$folder/env/bin/python" - <<'PYTHON' 2>&1 | grep -v is_fx_tracing
import gc

import torch
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig
from torchrec.inference.modules import quantize_embeddings

config = EmbeddingBagConfig(name="user", embedding_dim=64, num_embeddings=10_000, feature_names=["user"])
model = quantize_embeddings(torch.nn.Sequential(EmbeddingBagCollection([config])), dtype=torch.qint8, inplace=True)
gc.collect()
shown = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in
         [*model.parameters(), *model.buffers(), *model.state_dict().values()]}
held = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in gc.get_objects()
        if type(each) is torch.Tensor and each.dtype == torch.uint8 and each.numel() > 10_000}
print("shown:", sorted(shown.values()), "held:", sorted(held.values()), "codes alone:", 10_000 * 64)
assert sorted(shown.values()) == [800_000]
assert sorted(held.values()) == [680_000, 800_000]
print("as described")
PYTHON
