#!/usr/bin/env bash
# Versions: keras 3.15.1 on tensorflow-cpu 2.21.0, jax 0.10.2 and torch 2.13.0 (CPU), numpy 2.4.6.
# A good guess: `keras.ops.clip` has the same gradient on every backend, as its numbers are the same.
# Seen: where a number is equal to a bound, its gradient is 1 on TensorFlow and torch, and 0.5 on JAX.
# For coset: rounding to few bits in Keras layers is written with comparisons in place of clip, so that a number half a
#   step beyond the outermost level is trained alike everywhere.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} \
  torch==2.13.0 tensorflow-cpu==2.21.0 jax==0.10.2 keras==3.15.1 numpy==2.4.6
for backend in tensorflow jax torch; do
  KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" - <<'PYTHON'
import keras
import numpy as np
from keras import ops

numbers = np.array([-1.0, 0.0, 0.5, 1.0, 2.0], np.float32)


def total(given):
    return ops.sum(ops.clip(given, 0.0, 1.0))


backend = keras.backend.backend()
if backend == "tensorflow":
    import tensorflow as tf

    given = tf.Variable(numbers)
    with tf.GradientTape() as tape:
        found = total(given)
    gradient = tape.gradient(found, given).numpy()
elif backend == "jax":
    import jax

    gradient = np.asarray(jax.grad(total)(numbers))
else:
    import torch

    given = torch.tensor(numbers, requires_grad=True)
    total(given).backward()
    gradient = given.grad.numpy()
print(backend, "numbers", numbers.tolist(), "gradients", gradient.tolist())
bound = 0.5 if backend == "jax" else 1.0
assert gradient.tolist() == [0.0, bound, 1.0, bound, 0.0]
PYTHON
done
echo "as described"
