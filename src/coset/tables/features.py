"""The inputs of collections: the ids of many features, in the forms of torch and of TorchRec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from coset.errors import InputError, unknown

FeatureIds = Any
"""Ids of one feature: a tensor, `(values, offsets)`, `(values, offsets, weights)`, or a `JaggedTensor`."""


class FeatureValues(NamedTuple):
    """The ids of one feature: `values`, where each bag begins in them, a factor for each, whether `offsets` ends with
    their number, and which bag stands at each place of the batch where bags are held once (else each at its own)."""

    values: Tensor
    offsets: Tensor | None = None
    weights: Tensor | None = None
    include_last: bool = False
    inverse: Tensor | None = None


def read_features(
    features: Mapping[str, FeatureIds] | Any, wanted: Iterable[str], include_last: bool = False
) -> dict[str, FeatureValues]:
    """The ids of every feature, however they are given: all of a mapping, as it has them; and of a `KeyedJaggedTensor`,
    which may carry features of other collections as well, those `wanted`, in that order.

    Raises:
        InputError: neither of the two, a `KeyedJaggedTensor` without any wanted feature, or inverse indices that lack a
            feature.
    """
    if isinstance(features, Mapping):
        return {name: read_feature(name, given, include_last) for name, given in features.items()}
    names, own = _keys(features), list(wanted)
    if names and own and not set(own) & set(names):
        raise unknown("feature", names[0], own)
    given, inverse = features.to_dict() if names else {}, _inverse(features)
    return {name: read_feature(name, given[name])._replace(inverse=_of(name, inverse)) for name in own if name in given}


def read_feature(name: str, given: FeatureIds, include_last: bool = False) -> FeatureValues:
    """The ids of one feature.

    Raises:
        InputError: they have none of these forms.
    """
    if isinstance(given, Tensor):
        return FeatureValues(given)
    if isinstance(given, (tuple, list)) and len(given) in (2, 3) and all(isinstance(part, Tensor) for part in given):
        values, offsets, *weights = given
        if values.is_nested:
            raise InputError(
                f"feature {name!r}: nested ids hold where each bag begins, so they are given alone, not with offsets; "
                f"where bags have weights, give (values, offsets, weights) of dense tensors"
            )
        return FeatureValues(values, offsets, weights[0] if weights else None, include_last)
    if _has(given, "values", "offsets", "weights_or_none"):
        return FeatureValues(given.values(), given.offsets(), given.weights_or_none(), include_last=True)
    raise InputError(
        f"feature {name!r}: ids are a tensor, (values, offsets) or (values, offsets, weights), or a JaggedTensor, not "
        f"{type(given).__name__}"
    )


def check_whole(features: Any, wanted: Iterable[str]) -> None:
    """Raise an `InputError` unless a `KeyedJaggedTensor` has all the features that are wanted."""
    names = _keys(features)
    if missing := [name for name in wanted if name not in names]:
        raise InputError(
            f"the KeyedJaggedTensor has no feature {missing[0]!r}, whose vectors would be missing among those of all; "
            f"add it, or ask for a mapping of features"
        )


def expanded(feature: str, vectors: Tensor, inverse: Tensor | None) -> Tensor:
    """The vectors of bags that are held once, at every place of the batch, shape `(places, *vector_shape)`.

    Raises:
        InputError: an index is beyond the number of bags.
    """
    if inverse is None:
        return vectors
    if not torch.compiler.is_compiling() and inverse.numel():
        least, most = (int(each) for each in inverse.aminmax())
        if least < 0 or most >= len(vectors):
            wrong = least if least < 0 else most
            raise InputError(f"feature {feature!r}: an inverse index is {wrong}, of {len(vectors)} bags")
    return vectors.index_select(0, inverse)


def _keys(features: Any) -> list[str]:
    if not _has(features, "keys", "to_dict"):
        raise InputError(
            f"features are a mapping from names to ids, or a KeyedJaggedTensor, not {type(features).__name__}"
        )
    return list(features.keys())


def _inverse(features: Any) -> dict[str, Tensor] | None:
    """By feature, which of its bags stands at each place of the batch; None where each stands at its own."""
    given = features.inverse_indices_or_none() if _has(features, "inverse_indices_or_none") else None
    if given is None:
        return None
    names, indices = given
    if indices.dim() != 2 or len(indices) != len(names) or indices.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"inverse indices of a KeyedJaggedTensor are int64 or int32 of shape ({len(names)} features, batch), not "
            f"{str(indices.dtype)[6:]} of shape {tuple(indices.shape)}"
        )
    return dict(zip(names, indices.unbind(), strict=True))


def _of(name: str, inverse: dict[str, Tensor] | None) -> Tensor | None:
    if inverse is not None and name not in inverse:
        raise InputError(f"feature {name!r}: the KeyedJaggedTensor has inverse indices, but none for this feature")
    return None if inverse is None else inverse[name]


def _has(given: Any, *methods: str) -> bool:
    return all(callable(getattr(given, method, None)) for method in methods)
