#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU).
# A good guess: under one seed, a tensor of bfloat16 or float16 is filled with the numbers that one of float32 gets, rounded,
#   so that a table begins alike whichever type its rows have; and if not, then at no size.
# Seen: `normal_` and `uniform_` do so for fewer than 16 elements; from 16 on, the narrow tensor gets other numbers altogether.
#   A row of 8 elements begins alike in both types, a row of 16 does not.
# For coset: narrow rows are drawn in float32 and then rounded, so that a seed means one table in every storage.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch


def drawn(law, size, dtype):
    torch.manual_seed(0)
    return getattr(torch.empty(size, dtype=dtype), law)()


for law in ("normal_", "uniform_"):
    for dtype in (torch.bfloat16, torch.float16):
        alike = [torch.equal(drawn(law, n, dtype), drawn(law, n, torch.float32).to(dtype)) for n in (8, 15, 16, 64)]
        print(law, dtype, "alike at 8, 15, 16, 64 elements:", alike)
        assert alike == [True, True, False, False]
print("as described")
PYTHON
