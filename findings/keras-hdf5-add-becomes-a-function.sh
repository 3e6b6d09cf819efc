#!/usr/bin/env bash
# Versions: keras 3.15.1 on torch 2.13.0 (CPU), h5py 3.14.0, numpy 2.4.6.
# A good guess: what `get_config` of a layer of one's own returned is what `from_config` is given.
# Seen: in the HDF5 format the word "add" comes back as the function of that name; "mult", "concat", "max" and "mean" come back
#   as they were. In the `.keras` format "add" stays a word.
# For coset: its layers take the function for the word.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install -q ${PIP_ARGS:-} torch==2.13.0 keras==3.15.1 h5py==3.14.0 numpy==2.4.6
cd "$folder"
KERAS_BACKEND=torch "$folder/env/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import keras

given = []


@keras.saving.register_keras_serializable()
class Composed(keras.layers.Layer):
    def __init__(self, operation: object = "add", **rest: object) -> None:
        super().__init__(**rest)
        self.operation = operation if isinstance(operation, str) else "add"

    def call(self, x: object) -> object:
        return x

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "operation": self.operation}

    @classmethod
    def from_config(cls, config: dict[str, object]) -> "Composed":
        given.append(config["operation"])
        return cls(**config)


for operation in ("add", "mult", "concat", "max", "mean"):
    for file in ("model.h5", "model.keras"):
        inputs = keras.Input((3,))
        keras.Model(inputs, Composed(operation)(inputs)).save(file)
        given.clear()
        keras.models.load_model(file)
        print(operation, file, given)
        assert (given == [operation]) == ((operation, file) != ("add", "model.h5"))
        if given != [operation]:
            assert callable(given[0])
            assert given[0].__name__ == "add"
print("as described")
PYTHON
