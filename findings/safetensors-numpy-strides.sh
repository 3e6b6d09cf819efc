#!/usr/bin/env bash
# Versions: safetensors 0.8.0, numpy 2.4.6.
# A good guess: `safetensors.numpy.save_file` stores the values of an array, whatever its strides, or raises, as
#   `safetensors.torch.save_file` does for tensors that are not contiguous.
# Seen: it writes the memory that lies behind the array, in memory's order, under the array's shape. A Fortran-ordered, a
#   transposed or a strided array comes back with other values; no error, no warning.
# For coset: arrays are made contiguous before they are written.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} safetensors==0.8.0 numpy==2.4.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from safetensors.numpy import load_file, save_file

rows = np.arange(6, dtype=np.float32).reshape(2, 3)
given = {"fortran": np.asfortranarray(rows), "transposed": rows.T, "every_second": rows.ravel()[::2]}
save_file({"rows": rows, **given}, "arrays.safetensors")
back = load_file("arrays.safetensors")
assert (back["rows"] == rows).all()
for name, array in given.items():
    print(f"{name}: saved {array.tolist()}, loaded {back[name].tolist()}")
    assert back[name].shape == array.shape
    assert not np.array_equal(back[name], array)
assert back["transposed"].tolist() == [[0, 1], [2, 3], [4, 5]]
print("as described")
PYTHON
