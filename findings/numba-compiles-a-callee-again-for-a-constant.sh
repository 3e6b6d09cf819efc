#!/usr/bin/env bash
# Versions: numba 0.68.1, numpy 2.4.6, Python 3.11 or newer.
# A good guess: a compiled function that another one calls with a constant, with a variable and with the index of a
#   `prange` is compiled once, as all three are whole numbers of 64 bits.
# Seen: three versions. A constant is a type of its own, `Literal[int](0)`, which is inferred and compiled again, and
#   the index of a `prange` that is shared among threads is a uint64. With `np.int64(0)` and `np.int64(index)` there is
#   one version. Nested functions multiply this: each version compiles its own callees again.
# For coset: kernels hand numbers on as `np.int64`; the first use of the loop over ratings fell from 55 s to 32 s by
#   this and by loops in place of slices (`kernels/compile.py`).
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} numba==0.68.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numba
import numpy as np
from numba import prange


def versions(plain):
    @numba.njit
    def callee(values, start):
        return values[start] + 1

    @numba.njit(parallel=True)
    def caller(values, into):
        into[0] = callee(values, 0) if plain else callee(values, np.int64(0))
        for at in prange(len(values)):
            into[at] = callee(values, at) if plain else callee(values, np.int64(at))
        for at in range(len(values)):
            into[at] += callee(values, at)

    caller(np.ones(4), np.empty(4))
    return sorted(str(signature[1]) for signature in callee.signatures)


found = versions(plain=True), versions(plain=False)
print("as written:", found[0], "by np.int64:", found[1])
assert found[0] == ["Literal[int](0)", "int64", "uint64"]
assert found[1] == ["int64"]
print("as described")
PYTHON
