#!/usr/bin/env bash
# Versions: keras 3.15.1 on tensorflow-cpu 2.21.0 and torch 2.13.0 (CPU).
# A good guess: a layer that defines `trainable` with a setter of its own has the setter called at every assignment, on
#   every backend, as Python's properties do.
# Seen: on TensorFlow it is not called where the property has the value already: the base class of layers there compares
#   first. On torch it is called each time.
# For coset: packed rows refuse `trainable = True` in a setter; on TensorFlow the refusal stands in `__setattr__`, too.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 tensorflow-cpu==2.21.0 keras==3.15.1
for backend in tensorflow torch; do
  KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" - <<'PYTHON'
import keras

called = []


class Noting(keras.layers.Layer):
    @property
    def trainable(self):
        return keras.layers.Layer.trainable.fget(self)

    @trainable.setter
    def trainable(self, value):
        called.append(value)
        keras.layers.Layer.trainable.fset(self, value)


layer = Noting()
called.clear()
for value in (True, False, False):
    layer.trainable = value
print(keras.backend.backend(), "assigned [True, False, False], the setter had", called)
assert called == ([False] if keras.backend.backend() == "tensorflow" else [True, False, False])
PYTHON
done
echo "as described"
