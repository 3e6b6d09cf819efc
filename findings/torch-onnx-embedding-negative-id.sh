#!/usr/bin/env bash
# Versions: torch 2.13.0 (CPU), onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6.
# A good guess: what `torch.nn.Embedding` refuses, its ONNX export refuses too.
# Seen: torch raises an IndexError for the id -1. The exported graph is a `Gather`, whose negative indices count from the
#   end by ONNX's definition, so -1 (a usual mark for "unknown") gives the vector of the last id, without a word.
# For coset: exported lookups mask ids out of range, on either side, in the graph.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import onnxruntime
import torch

table = torch.nn.Embedding(5, 3).eval()
try:
    table(torch.tensor([-1]))
except IndexError as error:
    print("torch:", error)
else:
    raise AssertionError("torch took the id -1")
dynamic = ({0: torch.export.Dim.DYNAMIC},)
program = torch.onnx.export(table, (torch.tensor([0, 1, 2]),), dynamo=True, dynamic_shapes=dynamic, verbose=False)
program.save("table.onnx")
session = onnxruntime.InferenceSession("table.onnx")
(row,) = session.run(None, {session.get_inputs()[0].name: torch.tensor([-1]).numpy()})[0]
print("onnxruntime:", row, "where the last row is", table.weight[4].tolist())
assert torch.equal(torch.from_numpy(row), table.weight[4].detach())
print("as described")
PYTHON
