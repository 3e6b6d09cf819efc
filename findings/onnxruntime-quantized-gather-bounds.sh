#!/usr/bin/env bash
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU).
# A good guess: `GatherBlockQuantized` treats an index as `Gather` does, and refuses one that is out of range. And without
#   zero points, an unsigned code is its own value times the scale.
# Seen: an index out of range gives a row of zeros, without an error; `Gather` in the same runtime raises. And unsigned
#   8-bit codes without zero points are read around 128: code c stands for (c - 128) * scale.
# For coset: a packed table that leaves as ONNX must check ids in the graph itself.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

codes = np.arange(4 * 32, dtype=np.uint8).reshape(4, 32)


def gather(ids: list[int], quantized: bool) -> np.ndarray:
    if quantized:
        node = helper.make_node(
            "GatherBlockQuantized", ["table", "ids", "scales"], ["rows"], domain="com.microsoft",
            bits=8, block_size=32, gather_axis=0, quantize_axis=1,
        )
        arrays = [numpy_helper.from_array(codes, "table"), numpy_helper.from_array(np.ones((4, 1), np.float32), "scales")]
    else:
        node = helper.make_node("Gather", ["table", "ids"], ["rows"])
        arrays = [numpy_helper.from_array(codes.astype(np.float32), "table")]
    graph = helper.make_graph(
        [node], "lookup", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 32])], arrays,
    )
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = helper.make_model(graph, opset_imports=versions, ir_version=10).SerializeToString()
    return onnxruntime.InferenceSession(model, options).run(None, {"ids": np.array(ids)})[0]


assert np.array_equal(gather([1], quantized=True)[0], codes[1].astype(np.float32) - 128)
beyond = gather([4], quantized=True)[0]
print("GatherBlockQuantized, id 4 of 4 rows:", beyond[:4])
assert not beyond.any()
try:
    gather([4], quantized=False)
except Exception as error:
    print("Gather, id 4 of 4 rows:", str(error).partition(":")[2].strip()[:90])
else:
    raise AssertionError("Gather took an index that is out of range")
print("as described")
PYTHON
