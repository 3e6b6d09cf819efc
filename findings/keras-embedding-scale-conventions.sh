#!/usr/bin/env bash
# Versions: keras 3.15.1 on torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: the `embeddings_scale` that `Embedding.quantize("int8")` and `quantize("int4")` keep means the same: the size
#   of a step, by which codes are multiplied.
# Seen: for int8 it is the inverse, 127 / the largest absolute value of the row, by which codes are divided. For int4 it is the
#   step, by which codes are multiplied, after a zero point of the row is taken away; and a float32 array `g_idx` of one
#   element a dimension is kept beside it.
# For coset: who reads a Keras model's packed rows must know which of the two it is.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 keras==3.15.1 numpy==2.4.6
KERAS_BACKEND=torch "$folder/env/bin/python" - <<'PYTHON'
import keras
import numpy as np

arrays = {}
for mode in ("int8", "int4"):
    layer = keras.layers.Embedding(4, 8, embeddings_initializer=keras.initializers.RandomUniform(-1, 1, seed=7))
    layer.build()
    rows = keras.ops.convert_to_numpy(layer.embeddings)
    layer.quantize(mode)
    arrays[mode] = {weight.path.rpartition("/")[2]: weight for weight in layer.variables}
    scale = keras.ops.convert_to_numpy(arrays[mode]["embeddings_scale"]).ravel()
    largest, span = np.abs(rows).max(1), rows.max(1) - rows.min(1)
    print(mode, "scale", scale, "127 / largest", 127 / largest, "span / 15", span / 15)
    if mode == "int8":
        assert np.allclose(scale, 127 / largest, rtol=1e-3)
        codes = keras.ops.convert_to_numpy(arrays[mode]["embeddings"]).astype(np.float32)
        assert np.abs(codes / scale[:, None] - rows).max() < 0.01
    else:
        assert (scale < 1).all()
        assert np.allclose(scale, span / 15, rtol=0.15)
assert {"embeddings_zero", "g_idx"} <= set(arrays["int4"])
assert not {"embeddings_zero", "g_idx"} & set(arrays["int8"])
assert str(arrays["int4"]["g_idx"].dtype) == "float32"
print("as described")
PYTHON
