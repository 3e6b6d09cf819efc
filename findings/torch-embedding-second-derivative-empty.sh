#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: a lookup of no ids has second derivatives, which are zero, as it has first ones.
# Seen: the first derivative is zeros; the second raises "cannot reshape tensor of 0 elements into shape [0, -1]". Code that
#   routes ids to several tables meets it whenever one of them gets none.
# For coset: blocks that get no ids are left out of the graph.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch

table = torch.nn.Embedding(3, 2)


def second(ids: list[int]) -> torch.Tensor | None:
    vectors = table(torch.tensor(ids, dtype=torch.long))
    (first,) = torch.autograd.grad(vectors.pow(3).sum(), table.weight, create_graph=True)
    table.weight.grad = None
    first.sum().backward()
    return table.weight.grad


assert torch.allclose(second([0])[0], 6 * table.weight[0])
vectors = table(torch.zeros(0, dtype=torch.long))
assert not torch.autograd.grad(vectors.sum(), table.weight)[0].any()
try:
    second([])
except RuntimeError as error:
    print("no ids, second derivative:", str(error)[:75])
    assert "cannot reshape tensor of 0 elements" in str(error)
else:
    raise AssertionError("the second derivative of an empty lookup is there")
print("as described")
PYTHON
