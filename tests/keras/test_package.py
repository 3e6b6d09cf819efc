"""What importing costs, and the numbers of the Keras page."""

import subprocess
import sys
from typing import Any

import keras
import pytest

from coset.keras import MDEmbedding, QREmbedding


def loaded_by(code: str) -> set[str]:
    code = f"{code}; import sys; print(*(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280)
    return set(run.stdout.split())


def test_importing_coset_imports_no_keras() -> None:
    assert "keras" not in loaded_by("import coset, coset.partitions")


def test_importing_the_layers_imports_no_torch(backend: str) -> None:
    if backend == "torch":
        pytest.skip("keras itself imports it")
    assert "torch" not in loaded_by("import coset.keras")


def test_without_keras_one_sentence_says_what_to_install() -> None:
    code = "import sys; sys.modules['keras'] = None\nimport coset.keras"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=280)
    assert "coset.keras needs Keras 3 and one of its backends: pip install 'coset[keras]'" in run.stderr


def test_the_models_of_the_page_have_its_parameters() -> None:
    users = [f"user_{number}" for number in range(6040)]
    movies = [f"movie_{number}" for number in range(3706)]
    blocks = [movies[:400], movies[400:1700], movies[1700:]]

    def dot(user: Any, movie: Any) -> Any:
        inputs = [keras.Input((), dtype="int32", name=name) for name in ("user_id", "movie_id")]
        score = keras.layers.Dot(axes=1)([user(inputs[0]), movie(inputs[1])])
        return keras.Model(inputs, keras.layers.Rescaling(5)(keras.layers.Activation("sigmoid")(score)))

    full = dot(keras.layers.Embedding(6040, 64), keras.layers.Embedding(3706, 64))
    small = dot(
        QREmbedding(users, 64, 120, layout="keras", name="user_embedding"),
        MDEmbedding(blocks, [64, 32, 16], 64, layout="keras", name="movie_embedding"),
    )
    assert (full.count_params(), small.count_params()) == (623_744, 117_968)
    lines: list[str] = []
    small.summary(print_fn=lines.append)
    summary = "\n".join(lines)
    assert "117,968" in summary
    assert "15,360" in summary
    assert "102,608" in summary
