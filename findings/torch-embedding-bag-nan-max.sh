#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: a NaN row in a bag makes the bag NaN in every mode, as `torch.max` of the same rows does.
# Seen: modes sum and mean give NaN. Mode max keeps it only where it is the first row of its bag; else the comparison with a
#   NaN is false, and the bag is the maximum of what stood before it.
# For coset: vectors of ids out of range are NaN in graphs, so bags of mode max are marked after they are pooled.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import embedding_bag

rows = torch.arange(15.0).reshape(5, 3)
rows[2] = float("nan")
found = {}
for ids in ((0, 2, 1), (2, 0, 1)):
    bag = torch.tensor(ids)
    assert rows[bag].max(0).values.isnan().all()
    for mode in ("sum", "mean", "max"):
        vector = embedding_bag(bag, rows, torch.tensor([0]), mode=mode)[0]
        print(mode, ids, vector.tolist())
        found[mode, ids] = bool(vector.isnan().all())
assert found.pop(("max", (0, 2, 1))) is False
assert all(found.values())
print("as described")
PYTHON
