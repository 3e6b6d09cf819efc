#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: `torch.ops.quantized.embedding_bag_byte_rowwise_offsets(..., mode=1)` gives means and `mode=2` maxima, as the
#   same argument of `torch.embedding_bag` does (0 sum, 1 mean, 2 max).
# Seen: the argument is accepted and ignored. Every mode gives the sum.
#   And a zero does not stay zero: a row keeps its minimum and a step, so 0 is among its levels by chance only. A 4-bit row
#   whose minimum is below the range of float16 (-65,504) reads as NaN, as the minimum is kept in float16.
# For coset: a comparison with packed tables of torch takes sums only, and a padding row must be left out, not set to zero.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch

ops = torch.ops.quantized
weight = torch.linspace(-3, 5, 10 * 16).reshape(10, 16)
ids, offsets = torch.tensor([0, 4, 9]), torch.tensor([0])
packed = ops.embedding_bag_byte_prepack(weight)
total = weight[ids].sum(0)
for mode, name in enumerate(("sum", "mean", "max")):
    bag = ops.embedding_bag_byte_rowwise_offsets(packed, ids, offsets, mode=mode)[0]
    print(f"mode {name}: farthest from the sum {float((bag - total).abs().max()):.3f}")
    assert torch.allclose(bag, total, atol=0.05)

row = torch.linspace(-1, 2, 16)[None]
row[0, 5] = 0
zero = float(ops.embedding_bag_4bit_unpack(ops.embedding_bag_4bit_prepack(row))[0, 5])
print("a zero in a 4-bit row comes back as", zero)
assert zero != 0
low = torch.linspace(-70_000, -69_000, 16)[None]
unpacked = ops.embedding_bag_4bit_unpack(ops.embedding_bag_4bit_prepack(low))
print("a 4-bit row from -70,000 to -69,000 comes back as", unpacked[0, :2].tolist())
assert bool(unpacked.isnan().all())
print("as described")
PYTHON
