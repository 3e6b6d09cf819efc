#!/usr/bin/env bash
# Versions: torchao 0.18.0, torch 2.13.0 (CPU).
# A good guess: `quantize_` with `IntxWeightOnlyConfig(weight_dtype=torch.int4)` makes an embedding an eighth of its size, and
#   `weight.nbytes` says what it takes.
# Seen: each code of four bits takes a whole byte (int8), so the table is a quarter and not an eighth, with a scale a row
#   on top; and `weight.nbytes`, `weight.dtype` and `element_size()` are those of the float32 table that it stands for.
# For coset: sizes of tables that torchao has quantized are summed over the tensors inside, whose codes are counted as
#   they lie in memory.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} --no-deps torchao==0.18.0
"$folder/env/bin/python" - <<'PYTHON' 2>/dev/null
import torch
from torchao.quantization import IntxWeightOnlyConfig, quantize_

table = torch.nn.Embedding(1000, 64)
quantize_(table, IntxWeightOnlyConfig(weight_dtype=torch.int4), filter_fn=lambda module, _: module is table)
names, _ = table.weight.__tensor_flatten__()
inside = {name: getattr(table.weight, name) for name in names}
print("nbytes:", table.weight.nbytes, {name: (each.nbytes, str(each.dtype)) for name, each in inside.items()})
assert table.weight.nbytes == 1000 * 64 * 4 and table.weight.dtype == torch.float32
assert inside["qdata"].dtype == torch.int8 and inside["qdata"].nbytes == 1000 * 64
assert int(inside["qdata"].min()) >= -8 and int(inside["qdata"].max()) <= 7
assert sum(each.nbytes for each in inside.values()) > 1000 * 64
print("as described")
PYTHON
