#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: `padding_idx` of `embedding_bag` changes what is summed, not which sizes an exported graph is for.
# Seen: with `padding_idx=0` the number of rows of the weight becomes a constant of the graph, and an export that asks for any
#   number of them fails ("Constraints violated"); without it the same function is exported for any.
# For coset: bags hand their vectors to this operator as its table, so no padding row is named to it in graphs.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.export import Dim, export
from torch.nn.functional import embedding_bag


class Pooled(torch.nn.Module):
    def __init__(self, padding: int | None) -> None:
        super().__init__()
        self.padding = padding

    def forward(self, vectors: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        ids = torch.arange(vectors.shape[0])
        return embedding_bag(ids, vectors, offsets, mode="sum", padding_idx=self.padding)


given = torch.randn(7, 3), torch.tensor([0, 2, 5])
free = {0: Dim.DYNAMIC}, {0: Dim.DYNAMIC}
program = export(Pooled(None), given, dynamic_shapes=free)
assert program.module()(torch.ones(9, 3), torch.tensor([0, 4])).tolist() == [[4.0] * 3, [5.0] * 3]
try:
    export(Pooled(0), given, dynamic_shapes=free)
except Exception as error:
    print(type(error).__name__, str(error).split("\n")[0][:120], "…")
    assert "Constraints violated" in str(error)
else:
    raise AssertionError("the bag with a padding row is exported for any number of rows")
print("as described")
PYTHON
