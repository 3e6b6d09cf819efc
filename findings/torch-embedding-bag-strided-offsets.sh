#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: an operator of torch takes offsets of any strides, as `torch.nn.functional.embedding_bag` does.
# Seen: `torch.ops.aten._embedding_bag` reads strided offsets as if they lay side by side: every other number of 0 … 5 is
#   taken for 0, 1, 2, without an error. Strided ids are read as they are, and the function takes both.
# For coset: bags are pooled by the operator below the function, so their offsets are made contiguous.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import embedding_bag

rows, ids, every_other = torch.arange(6.0).view(6, 1), torch.arange(6), torch.arange(6)[::2]
below = torch.ops.aten._embedding_bag(rows, ids, every_other)[0].ravel().tolist()
above = embedding_bag(ids, rows, every_other, mode="sum").ravel().tolist()
side_by_side = torch.ops.aten._embedding_bag(rows, ids, every_other.contiguous())[0].ravel().tolist()
strided_ids = torch.ops.aten._embedding_bag(rows, torch.arange(12)[::2] // 2, every_other.contiguous())[0].ravel().tolist()
print("the operator", below, "the function", above, "contiguous", side_by_side, "strided ids", strided_ids)
assert above == side_by_side == strided_ids == [1.0, 5.0, 9.0]
assert below == [0.0, 1.0, 14.0]
print("as described")
PYTHON
