"""Weights to and from torch."""

from typing import Any

import numpy as np
import pytest

from coset.keras import LowRankEmbedding, QREmbedding, from_torch, to_torch
from coset.methods import from_json, registered

EVERY = np.arange(101)


def test_there_and_back(make: Any, to_numpy: Any) -> None:
    layer = make(name="user")
    vectors = to_numpy(layer(EVERY))
    if layer.torch_method not in registered():
        pytest.skip(f"there is no torch method {layer.torch_method}")
    embedding = to_torch(layer)
    assert embedding.table.name == "user"
    assert np.allclose(embedding.materialize().numpy(), vectors, rtol=1e-6, atol=1e-7)
    back = from_torch(embedding)
    assert type(back) is type(layer)
    assert np.array_equal(to_numpy(back(EVERY)), vectors)
    kept = {key: value for key, value in back.get_config().items() if key not in ("dtype", "name")}
    assert kept == {key: value for key, value in layer.get_config().items() if key in kept}


def test_what_is_stored_is_what_torch_predicts(make: Any) -> None:
    from coset.schema import Table

    layer = make()
    layer.build()
    if layer.torch_method not in registered():
        pytest.skip(f"there is no torch method {layer.torch_method}")
    method = from_json({"method": layer.torch_method, **layer.torch_fields()})
    components = method.components(Table("user", 101, 8))
    assert {part.key: part.shape for part in components} == {key: tuple(one.shape) for key, one in layer.stored.items()}


def test_fresh_arrays_have_the_laws_of_torch(make: Any) -> None:
    from coset.schema import Table

    layer = make(std=0.3)
    if layer.torch_method not in registered():
        pytest.skip(f"there is no torch method {layer.torch_method}")
    method = from_json({"method": layer.torch_method, **layer.torch_fields()})
    composition = method.descriptor(Table("user", 101, 8, std=0.3))
    blocks = getattr(composition, "blocks", (composition,))
    laws = {f"{part.name}.weight": part.std for block in blocks for part in block.parts}
    mine = {f"{array.name}.weight": 0.05 / 3**0.5 if array.law == "keras" else array.std for array in layer.arrays()}
    assert {key: mine[key] for key in laws} == pytest.approx(laws)


def test_the_projection_begins_as_in_torch(to_numpy: Any) -> None:
    from coset import Embedding, LowRank

    torch_side = Embedding(50, 16, LowRank(5), name="user").state_dict()["tables.user.projection.weight"]
    layer = LowRankEmbedding(50, 16, 5)
    layer.build()
    assert np.allclose(to_numpy(layer.stored["projection.weight"]), torch_side.numpy(), atol=1e-6)


def test_double_precision_and_options_are_kept(to_numpy: Any, backend: str) -> None:
    if backend == "jax":
        pytest.skip("JAX computes in 32 bits")
    import torch

    from coset import Embedding, QuotientRemainder

    embedding = Embedding(101, 8, QuotientRemainder(11), name="user", dtype=torch.float64, std=0.5)
    layer = from_torch(embedding, name="reader", mask_zero=True)
    assert (layer.name, layer.variable_dtype, layer.std, layer.mask_zero) == ("reader", "float64", 0.5, True)
    assert np.array_equal(to_numpy(layer(EVERY)), embedding.materialize().numpy())


def test_what_has_no_counterpart_is_refused() -> None:
    from coset import Embedding, LowRank, Robe

    with pytest.raises(ValueError, match=r"a method that a layer computes, chinese_remainder, full, .* not robe"):
        from_torch(Embedding(10, 4, Robe(64), name="user"))
    with pytest.raises(ValueError, match="table 'user': expected an embedding of bare ids, but it has a padding_idx"):
        from_torch(Embedding(10, 4, LowRank(2), name="user", padding_idx=0))
    with pytest.raises(ValueError, match="but it has an order"):
        from_torch(Embedding(10, 4, LowRank(2), name="user", order=np.arange(10)[::-1].copy()))
    with pytest.raises(ValueError, match="user: expected a built layer"):
        to_torch(QREmbedding(10, 4, 3, name="user"))
